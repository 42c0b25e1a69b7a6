"""A plane whose certificate the site itself has signed: trusted by `--ca FILE` alone."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deepseek.client import ClientError


@pytest.fixture
def certificate(tmp_path):
    """A PEM file with the key and the certificate of 127.0.0.1, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plane")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "plane.pem"
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    started = serve(lambda request: request.answer(200, b'"plane"'), tls=context)
    started.url = started.url.replace("http:", "https:")
    return started


def test_file_of_the_authority_is_trusted(server, connect, certificate):
    assert connect(server, ca=str(certificate)).call("GET", "/api") == "plane"


def test_without_it_no_token_is_sent(server, connect):
    with pytest.raises(ClientError, match="is not trusted") as caught:
        connect(server, patience=10).call("GET", "/api")
    assert (caught.value.code, caught.value.exit_code, server.requests) == ("untrusted_certificate", 2, [])
    assert "--ca FILE" in str(caught.value.hint)
