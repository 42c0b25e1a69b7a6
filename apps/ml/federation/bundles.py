"""The files that go between the planes of a study: invitation, enrolment request, certificate.

Each is JSON with a schema. An invitation is signed by the authority of its study, whose certificate is in it: a site
trusts it once a person has compared the fingerprint with what the coordinator told. A request is signed by the key of
the site's egress ledger. Neither file holds a private key.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apps.core.canonical import encode_canonical_json
from apps.core.errors import Invalid, TooLarge
from apps.ml.federation.certificates import KeyTexts, is_signed, sign_bytes
from apps.ml.federation.models import Site, SiteStudy, Study
from apps.platform.jobs.spec_validation import build_spec_errors, combine_errors, parse_model
from deepseek.federated.spec import SITE_NAME, StudySpec, compute_study_digest
from deepseek.messages import N_, Message
from deepseek.signing.documents import decode_base64, encode_base64
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import decode_public_key, is_signature

B = TypeVar("B", bound="Bundle")
INVITATION, REQUEST, CERTIFICATE = (
    "plane/federation-invitation/v1",
    "plane/federation-request/v1",
    "plane/federation-certificate/v1",
)
MAX_CODE_FILES, MAX_CODE_CHARACTERS = 100, 500_000
MAX_BUNDLE_BYTES = 2 * 2**20
HOST = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.:-]{0,251}[0-9A-Za-z])?", re.ASCII)
Name = Annotated[str, Field(pattern=SITE_NAME)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[0-9A-Za-z_]{1,80}\.py$")]
Pem = Annotated[str, Field(max_length=20_000, pattern=r"^[\t\n\r -~]*$")]


class Bundle(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode_content(self) -> bytes:
        """What the signature is over."""
        return encode_canonical_json(self.model_dump(mode="json", by_alias=True, exclude={"signature"})).encode()

    def render(self) -> str:
        return encode_canonical_json(self.model_dump(mode="json", by_alias=True)) + "\n"


class Invitation(Bundle):
    """What a site needs to see before it takes part."""

    schema_: Literal["plane/federation-invitation/v1"] = Field(alias="schema")
    study: dict[str, Any]
    digest: Digest
    code: dict[FileName, Annotated[str, Field(max_length=MAX_CODE_CHARACTERS)]] = Field(max_length=MAX_CODE_FILES)
    site: Name
    host: str = Field(pattern=f"^{HOST.pattern}$")
    port: int = Field(ge=1, le=65_535)
    coordinator: str = Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")
    authority: Pem
    signature: str = Field(max_length=2_000)


class EnrolmentRequest(Bundle):
    """What a site sends back: the request for its certificate, and the key that signs its egress ledger."""

    schema_: Literal["plane/federation-request/v1"] = Field(alias="schema")
    digest: Digest
    site: Name
    request: Pem
    public_key: str = Field(max_length=64)
    signature: str = Field(max_length=200)


class SiteCertificate(Bundle):
    """What the coordinator answers. The certificate is signed: the file needs no signature of its own."""

    schema_: Literal["plane/federation-certificate/v1"] = Field(alias="schema")
    digest: Digest
    site: Name
    certificate: Pem


# -- reading --------------------------------------------------------------------------------------------------------
def parse_bundle(kind: type[B], content: bytes | str, field: str) -> B:
    """The file as its model. Raises TooLarge, or Invalid naming every field that is wrong."""
    data = content.encode() if isinstance(content, str) else content
    if len(data) > MAX_BUNDLE_BYTES:
        raise TooLarge(
            "The file has {size} bytes.",
            size=len(data),
            field=field,
            limit=MAX_BUNDLE_BYTES,
            hint=N_("Give the file as it was downloaded."),
        )
    try:
        return kind.model_validate_json(data, strict=True)
    except ValidationError as failure:
        raise combine_errors(build_spec_errors(failure, {}, prefix=f"/{field}")) from None


def parse_study(document: Any, *, strict: bool = True) -> StudySpec:
    """The typed study; Invalid with every error. PostgreSQL keeps no NUL in JSON."""
    spec = parse_model(StudySpec, document, strict=strict, prefix="/document")
    if "\\u0000" in spec.to_json():
        raise Invalid(
            "The study holds a NUL character.",
            code="bad_document",
            field="/document/schema",
            limit=N_("text without NUL characters"),
            hint=N_("Write the categories without it."),
        )
    return spec


def parse_invitation(content: bytes | str) -> tuple[Invitation, StudySpec]:
    """An invitation that is what its authority signed. Raises TooLarge or Invalid `bad_invitation`."""
    invitation = parse_bundle(Invitation, content, "file")
    signature = decode_base64(invitation.signature) or b""
    if not is_signed(invitation.authority, signature, invitation.encode_content()):
        raise build_invitation_error(N_("not signed by the authority that it names"), "signature")
    spec = parse_study(invitation.study)
    if compute_study_digest(spec) != invitation.digest:
        raise build_invitation_error(N_("of a document with another digest"), "digest")
    if compute_code_digest(invitation.code) != spec.code_digest:
        raise build_invitation_error(N_("of code with another digest"), "code")
    return invitation, spec


def compute_code_digest(files: Mapping[str, str]) -> str:
    """The digest of a study's code by file name, as deepseek.federated.code computes that of the installed engine."""
    digest = hashlib.sha256()
    for name in sorted(files):
        data = files[name].encode()
        digest.update(f"{name}\n{len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def build_invitation_error(reason: str, part: str) -> Invalid:
    return Invalid(
        "The invitation is {reason}.",
        reason=Message(reason),
        code="bad_invitation",
        field="file",
        limit=part,
        hint=N_("Ask the coordinator for the invitation again, and import it unchanged."),
    )


def parse_enrolment_request(content: bytes | str, site: Site) -> EnrolmentRequest:
    """The request of this site for this study. Raises TooLarge or Invalid `bad_request_file`."""
    request = parse_bundle(EnrolmentRequest, content, "file")
    reason = ""
    if (request.digest, request.site) != (site.study.digest, site.name):
        reason = N_("of another study or site")
    else:
        try:
            key = decode_public_key(request.public_key)
        except SigningError:
            reason = N_("without a public key of Ed25519")
        else:
            if not is_signature(key, decode_base64(request.signature) or b"", request.encode_content()):
                reason = N_("not signed by its own key")
    if reason:
        raise Invalid(
            "The enrolment request is {reason}.",
            reason=Message(reason),
            code="bad_request_file",
            field="file",
            limit=f"{site.study.name}, {site.name}",
            hint=N_("Download the enrolment request on the site's plane again."),
        )
    return request


# -- writing --------------------------------------------------------------------------------------------------------
def render_invitation(study: Study, site: Site, code: dict[str, str], authority: KeyTexts, coordinator: str) -> str:
    content: dict[str, Any] = {
        "schema": INVITATION,
        "study": study.document,
        "digest": study.digest,
        "code": code,
        "site": site.name,
        "host": study.host,
        "port": study.port,
        "coordinator": " ".join(coordinator.split())[:200],
        "authority": study.authority_certificate,
    }
    unsigned = Invitation(**content, signature="")
    signature = encode_base64(sign_bytes(authority, unsigned.encode_content()))
    return Invitation(**content, signature=signature).render()


def render_enrolment_request(site_study: SiteStudy, ledger_key: str) -> str:
    """`ledger_key`: PEM of the Ed25519 key."""
    key = load_pem_private_key(ledger_key.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("the ledger is signed with a key of Ed25519")
    content: dict[str, Any] = {
        "schema": REQUEST,
        "digest": site_study.digest,
        "site": site_study.site,
        "request": site_study.request,
        "public_key": site_study.public_key,
    }
    unsigned = EnrolmentRequest(**content, signature="")
    return EnrolmentRequest(**content, signature=encode_base64(key.sign(unsigned.encode_content()))).render()


def render_certificate(site: Site) -> str:
    return SiteCertificate(
        schema=CERTIFICATE, digest=site.study.digest, site=site.name, certificate=site.certificate
    ).render()
