"""Queries on artifacts and their holdings, and the errors of those that cannot be read."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, NotFound
from apps.platform.accounts.models import Project
from apps.platform.artifacts.digests import validate_digest
from apps.platform.artifacts.models import Artifact, Holding
from deepseek.messages import N_


class Damaged(Conflict):
    """The stored bytes are not those of the digest, or are gone."""

    code = "artifact_damaged"

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"The stored bytes of {digest} are damaged or gone.",
            field="digest",
            hint="Upload the same file again, or have the operator restore it from a backup and scrub.",
        )


class DamagedBytes(Damaged):
    """The same, where the bytes themselves were requested: the fault is the plane's."""

    status = 500


def get_holding(*, actor: Actor, project: Project, digest: str) -> Holding:
    """The project's holding of this artifact; NotFound for what only other projects hold."""
    policy.require(actor, "artifact.view", project)
    rows = Holding.objects.readable_by(actor).filter(project=project, artifact=validate_digest(digest))
    holding = rows.select_related("artifact").first()
    if holding is None:
        raise build_absent_error()
    return holding


def get_artifact(*, actor: Actor, project: Project, digest: str) -> Artifact:
    """The artifact, if `project` holds it; NotFound otherwise."""
    return get_holding(actor=actor, project=project, digest=digest).artifact


def require_undamaged(artifact: Artifact) -> Artifact:
    """The artifact, unless it is marked damaged."""
    if artifact.damaged_at is not None:
        raise Damaged(artifact.digest)
    return artifact


def is_marked_damaged(digest: str) -> bool:
    return Artifact.objects.filter(pk=digest, damaged_at__isnull=False).exists()


def list_damaged_digests() -> set[str]:
    """The digests of all artifacts that are marked damaged: few."""
    return set(Artifact.objects.filter(damaged_at__isnull=False).values_list("digest", flat=True))


def build_absent_error() -> NotFound:
    return NotFound("This project holds no such artifact.", field="digest", hint=N_("Upload it: PUT its bytes here."))
