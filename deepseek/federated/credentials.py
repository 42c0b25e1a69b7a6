"""Certificates and keys of a study: an authority of its own, the server's and the sites' certificates. Light to import.

A site makes its keys itself and sends a request, which the coordinator signs: no private key leaves its machine. The
home folder of a study on a machine holds, each in a file of mode 0600: ca.pem; of a server server.pem and server.key;
of a site site.pem, site.key and ledger.key, the Ed25519 key that signs its ledger.
"""

from __future__ import annotations

import datetime
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deepseek.federated.errors import FederationError
from deepseek.federated.spec import SERVER_NAME
from deepseek.messages import N_

VALID_DAYS = 730
CLOCK_SKEW_DAYS = 1
MAX_PEM_BYTES = 20_000
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What is raised for bytes that are no certificate or request, or whose key is of an unknown kind."""
CA_CERTIFICATE, LEDGER_KEY = "ca.pem", "ledger.key"
Role = Literal["server", "site"]
FILES: dict[Role, tuple[str, ...]] = {
    "server": (CA_CERTIFICATE, "server.pem", "server.key"),
    "site": (CA_CERTIFICATE, "site.pem", "site.key", LEDGER_KEY),
}


@dataclass(frozen=True)
class KeyPair:
    """A certificate, or the request for one, and its private key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def create_authority(name: str) -> KeyPair:
    """Make the certificate authority of one study, which signs for this study only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = build_name(f"{name[:40]} federation")
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    builder = start_certificate(subject, subject, key.public_key()).add_extension(constraints, critical=True)
    usage = build_key_usage(signs_certificates=True)
    return KeyPair(
        encode_certificate(builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())), encode_key(key)
    )


def create_server_credentials(authority: KeyPair) -> KeyPair:
    """Make the server's key and certificate. Sites check its name, which is the same wherever the server stands."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign_certificate(authority, key.public_key(), SERVER_NAME, ExtendedKeyUsageOID.SERVER_AUTH)
    return KeyPair(certificate, encode_key(key))


def create_site_request(site: str) -> KeyPair:
    """Make a site's key, and the request that its coordinator signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(build_name(site)).sign(key, hashes.SHA256())
    return KeyPair(request.public_bytes(serialization.Encoding.PEM), encode_key(key))


def sign_site_request(authority: KeyPair, request: bytes, *, site: str) -> bytes:
    """The certificate of a site, as PEM, for the request that it sent.

    Only the key of the request counts: the name is the coordinator's, and extensions that were asked for are not given.
    Raises FederationError ``request_malformed``.
    """
    try:
        if len(request) > MAX_PEM_BYTES:
            raise ValueError
        parsed = x509.load_pem_x509_csr(request)
        key = parsed.public_key()
        is_valid = parsed.is_signature_valid
        names = [attribute.value for attribute in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (*UNREADABLE, TypeError, InvalidSignature):
        raise build_request_error("it is not a certificate request in PEM") from None
    if not is_valid or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise build_request_error("it is not signed by a key on the curve P-256")
    if names != [site]:
        raise build_request_error("it names another site")
    return sign_certificate(authority, key, site, ExtendedKeyUsageOID.CLIENT_AUTH)


def compute_fingerprint(certificate: bytes) -> str:
    """SHA-256, in hex, of a certificate in PEM. Raises FederationError ``request_malformed`` for anything else."""
    return parse_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def parse_certificate(certificate: bytes) -> x509.Certificate:
    """A certificate in PEM. Raises FederationError ``request_malformed`` for anything else."""
    try:
        if len(certificate) > MAX_PEM_BYTES:
            raise ValueError
        return x509.load_pem_x509_certificate(certificate)
    except UNREADABLE:
        raise build_request_error("it is not a certificate in PEM") from None


def sign_content(authority: KeyPair, content: bytes) -> bytes:
    """The authority's signature of other content than a certificate (ECDSA, SHA-256)."""
    return load_authority_key(authority).sign(content, ec.ECDSA(hashes.SHA256()))


def is_signed_by(certificate: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the certificate's key signed `content`; False for a certificate that cannot be read."""
    try:
        key = parse_certificate(certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except (FederationError, *UNREADABLE, InvalidSignature):
        return False
    return True


def save_credential(home: Path, name: str, content: bytes) -> None:
    """Write one file of the home folder, of mode 0600; it is there whole or not at all."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = home / f".{name}.{secrets.token_hex(6)}"
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(home / name)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def check_home(home: Path, role: Role) -> None:
    """Raise FederationError ``credential_missing`` or ``credential_unsafe`` for a file of the role."""
    for name in FILES[role]:
        path = home / name
        if not path.is_file():
            hint = N_("Import the study's invitation again, or put the file back from its backup.")
            raise build_file_error("credential_missing", N_("The credential {name} is not there."), name, hint)
        if name.endswith(".key") and path.stat().st_mode & 0o077:
            hint = N_("Take the rights of others away: chmod 600.")
            raise build_file_error("credential_unsafe", N_("The credential {name} may be read by others."), name, hint)


def start_certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=CLOCK_SKEW_DAYS))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )


def sign_certificate(
    authority: KeyPair, key: ec.EllipticCurvePublicKey, name: str, purpose: x509.ObjectIdentifier
) -> bytes:
    issuer, signer = parse_certificate(authority.certificate), load_authority_key(authority)
    certificate = (
        start_certificate(build_name(name), issuer.subject, key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(build_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return encode_certificate(certificate)


def load_authority_key(authority: KeyPair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise build_request_error("the authority's key is of another kind")
    return key


def build_key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def build_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def encode_certificate(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, nothing = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, nothing)


def build_request_error(why: str) -> FederationError:
    return FederationError(
        "request_malformed",
        N_("The certificate request is not accepted: {why}."),
        field="request",
        limit="a certificate request in PEM, of a key on the curve P-256, that names the site",
        hint=N_("Have the site make its request again."),
        why=why,
    )


def build_file_error(code: str, msgid: str, name: str, hint: str) -> FederationError:
    return FederationError(code, msgid, field="inputs/home", limit="a file of mode 0600", hint=hint, name=name)
