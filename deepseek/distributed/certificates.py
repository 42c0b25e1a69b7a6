"""A certificate of one server of one fit. Clients trust it alone, so it needs no authority."""

import datetime
from dataclasses import dataclass

from deepseek.distributed.errors import FitError

SERVER_NAME = "parameter-server"
"""The name in every certificate: clients check it in place of the host's."""


@dataclass(frozen=True)
class ServerCertificate:
    """PEM texts. The key never leaves the process that serves with it, or the process that started that one."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ServerCertificate(...)"


def build_certificate() -> ServerCertificate:
    """Make a key and a certificate that is valid for 30 days."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise FitError("TLS needs the package cryptography: pip install 'cryptography>=45'.") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # hosts whose clocks differ
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return ServerCertificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
