"""Bytes in and out of an attempt: inputs staged and verified, outputs stored first and adopted at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Unavailable
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import adopt as adopt_artifact
from apps.platform.artifacts.services import is_marked_damaged, report_damage
from apps.platform.artifacts.store import Store
from apps.platform.artifacts.stores import get_store as root_store
from apps.platform.jobs.errors import ARTIFACT_DAMAGED
from apps.platform.jobs.models import Job
from deepseek.messages import N_


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output whose bytes are in the store, and of which the database knows nothing yet."""

    slot: str
    name: str
    digest: str
    size: int
    media_type: str
    meta: Mapping[str, Any]
    chunks: bytes = b""  # as of apps.platform.artifacts.store.StoredBytes, as is `replaced`
    replaced: bool = False


def stage_artifact(actor: Actor, store: Store, artifact: Artifact, path: Path, check: Callable[[], None]) -> None:
    """Copy an artifact to `path`; raises PlaneError (no retry) if its bytes are not what its name says.

    Then the artifact is marked damaged, so that the same bytes, sent again, replace the damaged ones. Unavailable
    (which is tried again) where its bytes are right when they are read once more.
    """
    try:
        if store.lacking({artifact.digest: artifact.size}):
            raise build_damaged_error(artifact.digest, "is missing from the store, or has another size there")
        stage_bytes(store, artifact.digest, path, check)
    except PlaneError as error:
        if error.code != ARTIFACT_DAMAGED:
            raise
        reason = f"A job that takes it found it so: {error.message}"
        if not report_damage(actor=actor, digest=artifact.digest, reason=reason):
            raise Unavailable(
                "The artifact {artifact_digest}… was read wrong, once.", artifact_digest=artifact.digest[:12]
            ) from error
        raise


def stage_bytes(store: Store, name: str, path: Path, check: Callable[[], None]) -> None:
    """Copy the object called `name` to `path`; raises PlaneError (no retry) if its bytes are not of that digest.

    `check` is called between chunks and raises to stop: a large input must not hold up a cancel.
    """
    digest = hashlib.sha256()
    try:
        with path.open("xb") as file:
            for chunk in store.open(name):
                check()
                digest.update(chunk)
                file.write(chunk)
    except FileNotFoundError:
        root_store().check()  # raises Unavailable where the whole store is away
        raise build_damaged_error(name, "is missing from the store") from None
    except ConnectionError as failure:
        raise Unavailable("The store does not answer: {failure}.", failure=failure) from None
    if digest.hexdigest() != name:
        raise build_damaged_error(name, f"has other bytes: sha256 {digest.hexdigest()[:12]}…")


def build_damaged_error(digest: str, what: str) -> PlaneError:
    return PlaneError(
        "The artifact {digest}… {what}.",
        digest=digest[:12],
        what=what,
        code=ARTIFACT_DAMAGED,
        field="inputs",
        hint=N_("Restore it from a backup or upload the same bytes again; then retry."),
    )


def require_store() -> None:
    """Raise Unavailable where the store is away: bytes written to the folder that it is mounted on would be lost."""
    if Artifact.objects.exists():
        root_store().check()


def upload(
    store: Store, out: Path, outputs: Sequence[Mapping[str, Any]], check: Callable[[], None]
) -> list[StoredOutput]:
    """Store what the engine says it made; equal bytes are stored once, so a repeated attempt costs nothing.

    `check` is called between chunks and raises to stop.
    """
    artifacts = []
    root = out.parent.resolve() / out.name  # `out` itself may be a link by now
    for output in outputs:
        relative = PurePosixPath(str(output["path"]))
        path = (out / relative).resolve()
        if relative.is_absolute() or ".." in relative.parts or not path.is_relative_to(root) or not path.is_file():
            raise PlaneError(
                "The engine names an output that is not in its folder: {relative}.",
                relative=relative,
                code="bad_output",
            )
        with store.open_staging() as staging, path.open("rb") as file:
            while chunk := file.read(1 << 20):
                check()
                staging.write(chunk)
            digest, size = staging.publish(is_damaged=is_marked_damaged)
            stored = staging.stored
        artifacts.append(
            StoredOutput(
                slot=str(output["slot"]),
                name=relative.name,
                digest=digest,
                size=size,
                media_type=str(output["media_type"]),
                meta=output.get("meta") or {},
                chunks=stored.chunks,
                replaced=stored.replaced,
            )
        )
    return artifacts


def adopt(
    actor: Actor, job: Job, stored: Sequence[StoredOutput]
) -> list[tuple[str, Artifact, str, str, Mapping[str, Any]]]:
    """Rows for what was stored, held by the job's project; inside the transaction that ends the job."""
    return [
        (
            m.slot,
            adopt_artifact(
                actor=actor,
                project=job.project,
                digest=m.digest,
                size=m.size,
                name=m.name,
                media_type=m.media_type,
                chunks=m.chunks,
                replaced=m.replaced,
            ),
            m.name,
            m.media_type,
            m.meta,
        )
        for m in stored
    ]
