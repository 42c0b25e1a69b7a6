"""Build signed .swu archives for the stock swupdate: what a site's own build makes of a model's bytes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DESCRIPTION = """software = {{
  version = "{version}";
  hardware-compatibility: [ "1.0" ];
  files: ({{ filename = "{name}"; path = "{target}"; sha256 = "{digest}"; }});
}}
"""


class Signer:
    """A certificate that swupdate trusts, and its key."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "updates")])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.path = folder / "updates.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def build_swu(self, payload: bytes, *, target: Path, version: str = "1.0", name: str = "model.bin") -> bytes:
        """A .swu that writes `payload` to the path `target`."""
        digest = hashlib.sha256(payload).hexdigest()
        description = DESCRIPTION.format(version=version, name=name, target=target, digest=digest).encode()
        signature = (
            pkcs7.PKCS7SignatureBuilder()
            .set_data(description)
            .add_signer(self.certificate, self.key, hashes.SHA256())
            .sign(
                serialization.Encoding.DER,
                [
                    pkcs7.PKCS7Options.Binary,
                    pkcs7.PKCS7Options.DetachedSignature,
                    pkcs7.PKCS7Options.NoCapabilities,
                ],
            )
        )
        files = [("sw-description", description), ("sw-description.sig", signature), (name, payload)]
        return build_cpio(files)


def build_cpio(files: list[tuple[str, bytes]]) -> bytes:
    """A cpio archive in the "crc" format (magic 070702), the one that swupdate reads."""
    entries = [build_entry(name, data, number) for number, (name, data) in enumerate(files, 1)]
    return b"".join([*entries, build_entry("TRAILER!!!", b"", 0)])


def build_entry(name: str, data: bytes, inode: int) -> bytes:
    padded_name = name.encode() + b"\0"
    fields = [inode, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(padded_name), sum(data) & 0xFFFFFFFF]
    head = b"070702" + b"".join(b"%08X" % field for field in fields) + padded_name
    return pad(head) + pad(data)


def pad(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
