"""Certificates of a study: what the coordinator signs, and how the files are kept."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deepseek.federated.credentials import (
    build_name,
    check_home,
    compute_fingerprint,
    create_authority,
    create_server_credentials,
    create_site_request,
    is_signed_by,
    save_credential,
    sign_content,
    sign_site_request,
)
from deepseek.federated.errors import FederationError


@pytest.fixture(scope="module")
def authority():
    return create_authority("Heart")


def build_request(key, name="north"):
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = x509.CertificateSigningRequestBuilder().subject_name(build_name(name))
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    return builder.add_extension(constraints, critical=True).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def change_version(pem: bytes, before: bytes, version: int) -> bytes:
    """The PEM with `version` in place of the last byte of `before`: of a version that does not exist."""
    first, *lines, last = pem.decode().strip().splitlines()
    data = base64.b64decode("".join(lines))
    place = data.index(before) + len(before) - 1
    changed = base64.encodebytes(data[:place] + bytes([version]) + data[place + 1 :]).decode()
    return f"{first}\n{changed}{last}\n".encode()


def test_a_site_gets_a_certificate_for_its_own_key_and_name(authority):
    request = create_site_request("north")
    certificate = x509.load_pem_x509_certificate(sign_site_request(authority, request.certificate, site="north"))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    assert certificate.subject == build_name("north")
    assert b"PRIVATE" not in repr(request).encode()
    assert certificate.not_valid_after_utc > datetime.datetime.now(datetime.UTC)
    assert len(compute_fingerprint(authority.certificate)) == 64


def test_extensions_that_a_request_asks_for_are_not_given(authority):
    request = build_request(ec.generate_private_key(ec.SECP256R1()))
    certificate = x509.load_pem_x509_certificate(sign_site_request(authority, request, site="north"))
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_other_requests_are_refused(authority):
    request = create_site_request("north").certificate
    rsa_request = build_request(rsa.generate_private_key(65537, 2048))
    later = change_version(request, b"\x02\x01\x00", 7)
    for wrong in (b"", b"x" * 30_000, authority.certificate, rsa_request, request.replace(b"A", b"B", 3), later):
        with pytest.raises(FederationError) as caught:
            sign_site_request(authority, wrong, site="north")
        assert caught.value.code == "request_malformed"
    with pytest.raises(FederationError, match="another site"):
        sign_site_request(authority, request, site="south")
    for wrong in (b"none", change_version(authority.certificate, b"\xa0\x03\x02\x01\x02", 5)):
        with pytest.raises(FederationError):
            compute_fingerprint(wrong)
        assert not is_signed_by(wrong, b"", b"")


def test_content_is_signed_by_the_authority_alone(authority):
    signature = sign_content(authority, b"content")
    assert is_signed_by(authority.certificate, signature, b"content")
    assert not is_signed_by(authority.certificate, signature, b"other")
    assert not is_signed_by(create_authority("Lung").certificate, signature, b"content")


def test_a_home_needs_its_files_for_its_user_alone(tmp_path, authority):
    server = create_server_credentials(authority)
    save_credential(tmp_path, "ca.pem", authority.certificate)
    save_credential(tmp_path, "server.pem", server.certificate)
    with pytest.raises(FederationError) as caught:
        check_home(tmp_path, "server")
    assert caught.value.code == "credential_missing"
    save_credential(tmp_path, "server.key", server.key)
    check_home(tmp_path, "server")
    (tmp_path / "server.key").chmod(0o640)
    with pytest.raises(FederationError, match="read by others"):
        check_home(tmp_path, "server")
