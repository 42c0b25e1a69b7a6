"""Where a variant comes from: in-toto provenance (SLSA v1), signed by the plane and verified by a device.

Statement: https://in-toto.io/Statement/v1. Predicate: https://slsa.dev/spec/v1.0/provenance. Its payload type is that
of a release, and its predicate type tells the two apart: neither is ever read as the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from deepseek.signing.documents import Fields, encode_canonical, read_json_object
from deepseek.signing.dsse import MAX_PAYLOAD_BYTES, Envelope, sign, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import PublicKeys, Signer
from deepseek.signing.statements import FILE_NAME, RELEASE_TYPE, STATEMENT_TYPE, ReleaseStatement

PROVENANCE_TYPE = RELEASE_TYPE
PROVENANCE_PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:deepseek-offline:variant:v1"
MAX_DEPENDENCIES = 500
WHAT = "The provenance"


@dataclass(frozen=True, order=True)
class Dependency:
    """What went into the variant: "dataset_version/12" or "code/7", by its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class VariantProvenance:
    """How one file of a model was made. `builder`: the plane. `parameters`: kind and spec of the job; empty where no
    job of this plane made it. `invocation`: that job. Times are for readers: no decision rests on them."""

    file_name: str
    sha256: str
    builder: str
    parameters: Mapping[str, Any]
    dependencies: tuple[Dependency, ...]
    invocation: str
    started_at: str | None = None
    finished_at: str | None = None

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """The provenance of an in-toto document. Raises SigningError ``document_malformed``."""
        top = Fields(read_json_object(payload, WHAT, max_bytes=MAX_PAYLOAD_BYTES), WHAT)
        top.read_choice("_type", STATEMENT_TYPE)
        top.read_choice("predicateType", PROVENANCE_PREDICATE)
        (subject,) = top.iter_objects("subject", low=1, high=1)
        predicate = top.read_object("predicate")
        build, run = predicate.read_object("buildDefinition"), predicate.read_object("runDetails")
        build.read_choice("buildType", BUILD_TYPE)
        metadata = run.read_object("metadata")
        return cls(
            file_name=subject.read_text("name", pattern=FILE_NAME),
            sha256=subject.read_object("digest").read_digest("sha256"),
            builder=run.read_object("builder").read_text("id"),
            parameters=build.read_object("externalParameters").values,
            dependencies=tuple(
                Dependency(each.read_text("name", max_length=200), each.read_object("digest").read_digest("sha256"))
                for each in build.iter_objects("resolvedDependencies", high=MAX_DEPENDENCIES)
            ),
            invocation=metadata.read_text("invocationId", min_length=0, max_length=100),
            started_at=None if metadata.values.get("startedOn") is None else metadata.read_time("startedOn"),
            finished_at=None if metadata.values.get("finishedOn") is None else metadata.read_time("finishedOn"),
        )

    def to_document(self) -> dict[str, Any]:
        times = {"startedOn": self.started_at, "finishedOn": self.finished_at}
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.file_name, "digest": {"sha256": self.sha256}}],
            "predicateType": PROVENANCE_PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": dict(self.parameters),
                    "resolvedDependencies": [
                        {"name": each.name, "digest": {"sha256": each.sha256}} for each in self.dependencies
                    ],
                },
                "runDetails": {
                    "builder": {"id": self.builder},
                    "metadata": {
                        "invocationId": self.invocation,
                        **{name: value for name, value in times.items() if value is not None},
                    },
                },
            },
        }


def sign_provenance(provenance: VariantProvenance, signer: Signer) -> Envelope:
    """The provenance, signed; it is read back, so that none is signed that a device would not read."""
    payload = encode_canonical(provenance.to_document())
    VariantProvenance.parse(payload)
    return sign(PROVENANCE_TYPE, payload, [signer])


def verify_provenance(
    document: Any, release: ReleaseStatement, keys: PublicKeys, *, is_required: bool = False
) -> VariantProvenance | None:
    """The provenance of a verified `release`; None where it names none, none came, and none `is_required`.

    Raises SigningError ``provenance_missing``, ``provenance_wrong`` for another one than the release names or another
    subject than its model, or as `verify` and `VariantProvenance.parse` do.
    """
    if document is None:
        if release.provenance is None and not is_required:
            return None
        raise SigningError(
            "provenance_missing",
            "The release came without the provenance of its model.",
            field="provenance",
            limit=release.provenance or "a release that names its provenance",
            hint="Fetch or copy the release again, whole; one from before there was provenance has to be issued again.",
        )
    envelope = Envelope.from_document(document)
    provenance = VariantProvenance.parse(verify(envelope, keys, payload_type=PROVENANCE_TYPE))
    model = release.model_file
    for field, value, limit in (
        ("subject", provenance.sha256, model.sha256),
        ("provenance", envelope.digest, release.provenance or "a release that names its provenance"),
    ):
        if value != limit:
            raise SigningError(
                "provenance_wrong",
                f"The provenance is not that of this release: its {field} is another.",
                field=field,
                value=value,
                limit=limit,
                hint="Fetch the release and its provenance again, together.",
            )
    return provenance
