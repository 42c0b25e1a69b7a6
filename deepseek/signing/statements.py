"""What is signed about a release: the plane's statement, the device's receipt, and the proof of its enrolment.

Each document has a type of its own, which is signed with it: a signature over one never counts for another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from deepseek.signing.documents import (
    MAX_INTEGER,
    Fields,
    compute_digest,
    decode_base64,
    encode_base64,
    encode_canonical,
    read_json_object,
)
from deepseek.signing.dsse import MAX_PAYLOAD_BYTES, Envelope, encode_pae, sign, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import SIGNATURE_BYTES, PublicKey, Signer, compute_key_id, encode_public_key, is_signature

RELEASE_TYPE = "application/vnd.in-toto+json"
RECEIPT_TYPE = "application/vnd.plane.receipt+json"
ENROLMENT_TYPE = "application/vnd.plane.enrolment+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:deepseek-offline:release:v1"
ARCHITECTURES = ("x86_64", "aarch64", "any")
MANIFEST_FILE = "model.json"
SAMPLES_FILE = "samples.json"
MAX_FILES = 16
MAX_DECISIONS = 50
MAX_RECEIPT_BYTES = 16_384
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")

Architecture = Literal["x86_64", "aarch64", "any"]


@dataclass(frozen=True, order=True)
class ReleaseFile:
    """One file of a release, by its bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Decision:
    """What one person decided on the approval that a release rests on."""

    person: str
    decision: Literal["approve", "reject"]
    at: str


@dataclass(frozen=True)
class ReleaseApproval:
    """The approval that a release rests on. `facts_digest`: of what was approved."""

    id: int
    subject: str
    facts_digest: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class ReleaseStatement:
    """What the plane says of one variant that may be installed.

    `sequence` grows with each release of a model in a project: a device installs none that is not above what it had.
    `samples`: the file of rows with their answers, by which a device checks what it has installed; None where there is
    none. `provenance`: SHA-256 of the payload of the variant's provenance (provenance.py); None in releases from before
    there was any. Times are for readers: no decision rests on them.
    """

    project: str
    model: str
    version: int
    variant: str
    format: str
    architecture: Architecture
    sequence: int
    issued_at: str
    files: tuple[ReleaseFile, ...]
    samples: str | None
    approval: ReleaseApproval
    provenance: str | None = None

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """The statement of an in-toto document. Raises SigningError ``document_malformed``."""
        what = "The release"
        top = Fields(read_json_object(payload, what, max_bytes=MAX_PAYLOAD_BYTES), what)
        top.read_choice("_type", STATEMENT_TYPE)
        top.read_choice("predicateType", PREDICATE_TYPE)
        fields = top.read_object("predicate")
        files = _read_files(fields)
        subject = {
            each.read_text("name", pattern=FILE_NAME): each.read_object("digest").read_digest("sha256")
            for each in top.iter_objects("subject", low=1, high=MAX_FILES)
        }
        if subject != {file.name: file.sha256 for file in files}:
            raise top.build_error("subject", "it names other files than the predicate", list(subject), "the same files")
        names = [file.name for file in files]
        samples = None if fields.values.get("samples") is None else fields.read_choice("samples", *names)
        return cls(
            project=fields.read_text("project", pattern=SLUG, limit="the slug of a project"),
            model=fields.read_text("model", max_length=256),
            version=fields.read_integer("version", low=1),
            variant=fields.read_text("variant", max_length=60),
            format=fields.read_text("format", max_length=20),
            architecture=fields.read_choice("architecture", *ARCHITECTURES),  # type: ignore[arg-type]
            sequence=fields.read_integer("sequence", low=1),
            issued_at=fields.read_time("issued_at"),
            files=files,
            samples=samples,
            approval=_read_approval(fields.read_object("approval")),
            provenance=None if fields.values.get("provenance") is None else fields.read_digest("provenance"),
        )

    def to_document(self) -> dict[str, Any]:
        files = sorted(self.files)
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": each.name, "digest": {"sha256": each.sha256}} for each in files],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "project": self.project,
                "model": self.model,
                "version": self.version,
                "variant": self.variant,
                "format": self.format,
                "architecture": self.architecture,
                "sequence": self.sequence,
                "issued_at": self.issued_at,
                "files": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in files],
                "samples": self.samples,
                **({} if self.provenance is None else {"provenance": self.provenance}),
                "approval": {
                    "id": self.approval.id,
                    "subject": self.approval.subject,
                    "facts_digest": self.approval.facts_digest,
                    "decisions": [
                        {"person": each.person, "decision": each.decision, "at": each.at}
                        for each in self.approval.decisions
                    ],
                },
            },
        }

    @property
    def model_file(self) -> ReleaseFile:
        """The file with the model's bytes: neither the manifest nor the samples."""
        return next(file for file in self.files if file.name not in (MANIFEST_FILE, self.samples))

    def get_file(self, name: str) -> ReleaseFile | None:
        return next((file for file in self.files if file.name == name), None)


def sign_release(statement: ReleaseStatement, signer: Signer) -> Envelope:
    """The statement, signed; it is read back, so that none is signed that a device would not read."""
    payload = encode_canonical(statement.to_document())
    ReleaseStatement.parse(payload)
    return sign(RELEASE_TYPE, payload, [signer])


def _read_files(fields: Fields) -> tuple[ReleaseFile, ...]:
    """The files: each name once whatever its case, the manifest and one model among them."""
    limit = "letters, digits, dots, dashes and underscores, no dot first"
    by_name: dict[str, ReleaseFile] = {}
    for each in fields.iter_objects("files", low=2, high=MAX_FILES):
        name = each.read_text("name", pattern=FILE_NAME, limit=limit)
        if name.casefold() in by_name:
            raise each.build_error("name", "it stands twice", name, "every name once, in capitals or not")
        by_name[name.casefold()] = ReleaseFile(name, each.read_integer("size"), each.read_digest("sha256"))
    files = tuple(sorted(by_name.values()))
    rest = [file.name for file in files if file.name not in (MANIFEST_FILE, fields.values.get("samples"))]
    if MANIFEST_FILE not in {file.name for file in files} or len(rest) != 1:
        names = [file.name for file in files]
        raise fields.build_error("files", "a file lacks, or there is one too many", names, "model.json and one model")
    return files


def _read_approval(fields: Fields) -> ReleaseApproval:
    decisions = tuple(
        Decision(
            each.read_text("person", max_length=200),
            each.read_choice("decision", "approve", "reject"),  # type: ignore[arg-type]
            each.read_time("at"),
        )
        for each in fields.iter_objects("decisions", low=1, high=MAX_DECISIONS)
    )
    return ReleaseApproval(
        id=fields.read_integer("id", low=1),
        subject=fields.read_text("subject", max_length=100),
        facts_digest=fields.read_digest("facts_digest"),
        decisions=decisions,
    )


@dataclass(frozen=True)
class HealthCheck:
    """How the samples came out on the device. `largest_difference` is as the samples measure it."""

    rows: int
    largest_difference: float


@dataclass(frozen=True)
class Receipt:
    """What a device says from the version that runs, signed by the device's own key.

    `release`: digest of the release's payload. `variant`: digest of the model's file. `counter` grows with each receipt
    of the device. `boot_id` names its start, so that the plane sees a restart.
    """

    device: str
    project: str
    assignment: str
    release: str
    variant: str
    counter: int
    boot_id: str
    started_at: str
    agent_version: str
    health: HealthCheck

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Raises SigningError ``document_malformed``."""
        what = "The receipt"
        fields = Fields(read_json_object(payload, what, max_bytes=MAX_RECEIPT_BYTES), what)
        health = fields.read_object("health")
        return cls(
            device=fields.read_text("device", max_length=100),
            project=fields.read_text("project", pattern=SLUG, limit="the slug of a project"),
            assignment=fields.read_text("assignment", min_length=0, max_length=100),
            release=fields.read_digest("release"),
            variant=fields.read_digest("variant"),
            counter=fields.read_integer("counter", low=1),
            boot_id=fields.read_text("boot_id", max_length=100),
            started_at=fields.read_time("started_at"),
            agent_version=fields.read_text("agent_version", max_length=60),
            health=HealthCheck(
                rows=health.read_integer("rows"),
                largest_difference=health.read_number("largest_difference", low=0, high=float(MAX_INTEGER)),
            ),
        )

    def to_document(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in vars(self).items() if name != "health"},
            "health": vars(self.health),
        }


def sign_receipt(receipt: Receipt, signer: Signer) -> Envelope:
    """The receipt, signed; it is read back, so that none is signed that the plane would not read."""
    payload = encode_canonical(receipt.to_document())
    Receipt.parse(payload)
    return sign(RECEIPT_TYPE, payload, [signer])


def verify_receipt(envelope: Envelope, key: PublicKey) -> Receipt:
    """What the device with this key has signed. Raises SigningError as `verify` and `Receipt.parse` do."""
    return Receipt.parse(verify(envelope, {compute_key_id(key): key}, payload_type=RECEIPT_TYPE))


@dataclass(frozen=True)
class EnrolmentProof:
    """What a device signs to enrol: that it holds the private key, for this token and under this name."""

    name: str
    public_key: PublicKey
    token: str = field(repr=False)

    def encode(self) -> bytes:
        """The bytes to sign. The token itself is not in them."""
        document: Mapping[str, str] = {
            "name": self.name,
            "public_key": encode_public_key(self.public_key),
            "token_sha256": compute_digest(self.token.encode()),
        }
        return encode_pae(ENROLMENT_TYPE, encode_canonical(document))


def sign_enrolment(name: str, token: str, signer: Signer) -> str:
    """The proof, as base64."""
    return encode_base64(signer.sign(EnrolmentProof(name, signer.public_key, token).encode()))


def verify_enrolment(proof: str, *, name: str, token: str, public_key: PublicKey) -> None:
    """Raise SigningError ``proof_wrong`` unless the holder of `public_key` signed this name and token."""
    signature = decode_base64(proof) if isinstance(proof, str) else None
    signed = EnrolmentProof(name, public_key, token).encode()
    if signature is None or len(signature) != SIGNATURE_BYTES or not is_signature(public_key, signature, signed):
        raise SigningError(
            "proof_wrong",
            "The proof is no signature by this key over this name and token.",
            field="proof",
            limit=f"base64 of {SIGNATURE_BYTES} bytes",
            hint="Sign the name, the key and the token that are sent.",
        )
