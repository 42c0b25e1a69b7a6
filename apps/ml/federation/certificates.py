"""Certificates and signatures of a study as PEM texts, by deepseek/federated/credentials.py, with this app's errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from apps.core.errors import Invalid
from deepseek.federated import credentials
from deepseek.federated.errors import FederationError
from deepseek.messages import N_, Message


@dataclass(frozen=True, slots=True, repr=False)
class KeyTexts:
    """A certificate, or the request for one, and its private key; both PEM."""

    certificate: str
    key: str

    @classmethod
    def from_pair(cls, pair: credentials.KeyPair) -> KeyTexts:
        return cls(pair.certificate.decode(), pair.key.decode())

    def to_pair(self) -> credentials.KeyPair:
        return credentials.KeyPair(self.certificate.encode(), self.key.encode())


def create_authority(study: str) -> KeyTexts:
    """The self-signed certificate that stands for a study."""
    return KeyTexts.from_pair(credentials.create_authority(study))


def create_server(authority: KeyTexts) -> KeyTexts:
    """The certificate of a study's server. Sites check its name, which is the same wherever the server stands."""
    return KeyTexts.from_pair(credentials.create_server_credentials(authority.to_pair()))


def create_request(site: str) -> KeyTexts:
    """A new key of a site, and the request that it be certified."""
    return KeyTexts.from_pair(credentials.create_site_request(site))


def sign_request(authority: KeyTexts, site: str, text: str) -> str:
    """The certificate of a site for its request. Raises Invalid `bad_request_file`."""
    try:
        return credentials.sign_site_request(authority.to_pair(), text.encode(), site=site).decode()
    except FederationError as fault:
        raise Invalid(
            "The enrolment request is not accepted: {reason}",
            reason=fault.message if isinstance(fault.message, Message) else str(fault),
            code="bad_request_file",
            field="file",
            limit=N_("PEM of a request for a key on the curve P-256"),
            hint=N_("Download the enrolment request on the site's plane again."),
        ) from None


def check_certificate(text: str, authority: str, request: str) -> str:
    """The PEM of a certificate that the authority signed for the key of `request`, tidied.

    Raises Invalid `bad_certificate`.
    """
    try:
        certificate = credentials.parse_certificate(text.encode())
        own = x509.load_pem_x509_csr(request.encode())
        certificate.verify_directly_issued_by(credentials.parse_certificate(authority.encode()))
        is_own = certificate.public_key() == own.public_key() and certificate.subject == own.subject
    except (FederationError, *credentials.UNREADABLE, TypeError, InvalidSignature):
        raise build_certificate_error(N_("not signed by the authority of this study")) from None
    if not is_own:
        raise build_certificate_error(N_("of another key or site"))
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise build_certificate_error(N_("expired"))
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def build_certificate_error(reason: str) -> Invalid:
    return Invalid(
        "The certificate is {reason}.",
        reason=Message(reason),
        code="bad_certificate",
        field="file",
        limit=N_("PEM of the certificate that the coordinator signed for this site"),
        hint=N_("Download the certificate of this site on the coordinator's plane."),
    )


def sign_bytes(authority: KeyTexts, content: bytes) -> bytes:
    """Sign with the key of an authority."""
    return credentials.sign_content(authority.to_pair(), content)


def is_signed(certificate: str, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the certificate's key signed `content`; False for a certificate that cannot be read."""
    return credentials.is_signed_by(certificate.encode(), signature, content)


def compute_fingerprint(certificate: str) -> str:
    """SHA-256 of the certificate, 64 hex digits."""
    return credentials.compute_fingerprint(certificate.encode())
