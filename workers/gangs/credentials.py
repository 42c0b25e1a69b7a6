"""Certificates of one attempt over several nodes, by which its members know each other. Nothing of them is stored.

The authority's key is derived from SECRET_KEY, job and attempt, so that every worker of the plane has the same one
without asking another; it does not leave the worker. A member's engine gets a key of its own, with a certificate.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from apps.platform.jobs.models import Job
from deepseek.partitions.nodes.membership import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE

CONTEXT = b"plane/gang-authority/v1\0"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
SKEW = timedelta(days=1)  # nodes whose clocks differ


def derive_authority_key(job_id: int, attempt: int) -> ec.EllipticCurvePrivateKey:
    """The key that signs for this attempt alone; the same on every node of the plane."""
    secret = hmac.new(settings.SECRET_KEY.encode(), CONTEXT + f"{job_id}:{attempt}".encode(), hashlib.sha512).digest()
    return ec.derive_private_key(int.from_bytes(secret, "big") % (ORDER - 1) + 1, ec.SECP256R1())


def stage_credentials(job: Job, rank: int, scratch: Path) -> Path:
    """Write authority, certificate and key of a member into the attempt's scratch folder, which goes with it."""
    authority, key = derive_authority_key(job.pk, job.attempt), ec.generate_private_key(ec.SECP256R1())
    signer = authority.public_key()
    lasts = timedelta(seconds=job.time_limit_seconds) + SKEW
    issuer = build_name(f"job {job.pk} attempt {job.attempt}")
    root = build_certificate(issuer, issuer, signer, signer, lasts, is_authority=True)
    subject = build_name(f"job {job.pk} attempt {job.attempt} member {rank}")
    member = build_certificate(subject, issuer, key.public_key(), signer, lasts)
    folder = scratch / "credentials"
    folder.mkdir(mode=0o700)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signed = {
        AUTHORITY_FILE: root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        CERTIFICATE_FILE: member.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        KEY_FILE: private,
    }
    for name, data in signed.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    return folder


def build_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def build_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    lasts: timedelta,
    *,
    is_authority: bool = False,
) -> x509.CertificateBuilder:
    """A certificate to be signed by the key of `signer`, with all that strict checks ask for (RFC 5280), which are the
    default from Python 3.13 on. Of the authority its serial number is always the same, as its key is.
    """
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer, subject, key, 1 if is_authority else x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        .add_extension(build_key_usage(is_authority=is_authority), critical=True)
    )
    if is_authority:
        return certificate
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return certificate.add_extension(both, critical=False)


def build_key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
