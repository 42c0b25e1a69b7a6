"""Keys and certificates of a study: its authority, its server, and requests of sites that the authority signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apps.core.errors import Invalid
from deepseek.federated.spec import SERVER_NAME
from deepseek.messages import N_, Message

LIFETIME = timedelta(days=730)
CLOCK_SKEW = timedelta(days=1)  # between two planes
MAX_PEM_BYTES = 20_000
CURVE = "secp256r1"
KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate, or the request for one, and its private key; both PEM."""

    certificate: str
    key: str


def create_authority(study: str) -> KeyPair:
    """The self-signed certificate that stands for a study."""
    key = generate_key()
    name = build_subject(f"{study[:40]} federation")
    builder = start_certificate(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = build_key_usage(key_cert_sign=True, crl_sign=True, digital_signature=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return KeyPair(encode_certificate(builder.sign(key, hashes.SHA256())), encode_key(key))


def create_server(authority: KeyPair) -> KeyPair:
    """The certificate of a study's server. Sites check its name, which is the same wherever the server stands."""
    key = generate_key()
    certificate = sign_certificate(authority, SERVER_NAME, key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH)
    return KeyPair(certificate, encode_key(key))


def create_request(site: str) -> KeyPair:
    """A new key of a site, and the request that it be certified."""
    key = generate_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(build_subject(site)).sign(key, hashes.SHA256())
    return KeyPair(request.public_bytes(serialization.Encoding.PEM).decode(), encode_key(key))


def sign_request(authority: KeyPair, site: str, text: str) -> str:
    """The certificate of a site for its request. The name is ours: what the request says of itself must agree.

    Raises Invalid `bad_request_file`.
    """
    try:
        request = x509.load_pem_x509_csr(text.encode()) if len(text) <= MAX_PEM_BYTES else None
        public_key = request.public_key() if request is not None and request.is_signature_valid else None
    except (ValueError, UnsupportedAlgorithm):
        request = public_key = None
    if request is None or not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != CURVE:
        raise build_request_error(N_("no request for a key on P-256 that its holder has signed"))
    if request.subject != build_subject(site):
        raise build_request_error(N_("made for another site"))
    return sign_certificate(authority, site, public_key, ExtendedKeyUsageOID.CLIENT_AUTH)


def build_request_error(reason: str) -> Invalid:
    return Invalid(
        "The certificate request is {reason}.",
        reason=Message(reason),
        code="bad_request_file",
        field="request",
        limit=N_("PEM of a request for a key on the curve P-256"),
        hint=N_("Download the enrolment request on the site's plane again."),
    )


def check_certificate(text: str, authority: str, request: str) -> str:
    """The PEM of a certificate that the authority signed for the key of `request`, tidied.

    Raises Invalid `bad_certificate`.
    """
    try:
        certificate = load_certificate(text)
        own = x509.load_pem_x509_csr(request.encode())
        certificate.verify_directly_issued_by(load_certificate(authority))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise build_certificate_error(N_("not signed by the authority of this study")) from None
    if certificate.public_key() != own.public_key() or certificate.subject != own.subject:
        raise build_certificate_error(N_("of another key or site"))
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise build_certificate_error(N_("expired"))
    return encode_certificate(certificate)


def build_certificate_error(reason: str) -> Invalid:
    return Invalid(
        "The certificate is {reason}.",
        reason=Message(reason),
        code="bad_certificate",
        field="certificate",
        limit=N_("PEM of the certificate that the coordinator signed for this site"),
        hint=N_("Download the certificate of this site on the coordinator's plane."),
    )


def sign_bytes(key: str, content: bytes) -> bytes:
    """Sign with the key of an authority (ECDSA, SHA-256)."""
    return load_key(key).sign(content, ec.ECDSA(hashes.SHA256()))


def is_signed(certificate: str, signature: bytes, content: bytes) -> bool:
    """Whether the holder of the certificate's key signed `content`; False for a certificate that cannot be read."""
    try:
        public = load_certificate(certificate).public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey):
            return False
        public.verify(signature, content, ec.ECDSA(hashes.SHA256()))
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def compute_fingerprint(certificate: str) -> str:
    """SHA-256 of the certificate, 64 hex digits."""
    return load_certificate(certificate).fingerprint(hashes.SHA256()).hex()


# -- parts ----------------------------------------------------------------------------------------------------------
def generate_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def build_subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def build_key_usage(**allowed: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in KEY_USES})


def start_certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(now + LIFETIME)


def sign_certificate(
    authority: KeyPair, name: str, key: ec.EllipticCurvePublicKey, purpose: x509.ObjectIdentifier
) -> str:
    issuer = load_certificate(authority.certificate)
    builder = start_certificate(build_subject(name), issuer.subject, key)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(build_key_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return encode_certificate(builder.sign(load_key(authority.key), hashes.SHA256()))


def load_certificate(text: str) -> x509.Certificate:
    """Raises ValueError for what is no certificate."""
    if len(text) > MAX_PEM_BYTES:
        raise ValueError("too long")
    return x509.load_pem_x509_certificate(text.encode())


def load_key(text: str) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError for what is no key on a curve."""
    key = serialization.load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("no key on a curve")
    return key


def encode_certificate(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def encode_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
