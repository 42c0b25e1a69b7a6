"""The files that clients log to their runs and models: written, written again, taken away.

The bytes are artifacts, stored once by their digest; a path written again points to the new bytes, and a model version
that was made of the old ones keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.core.policy import build_audit_reference, require
from apps.ml.experiments.files.tree import (
    FileRow,
    Owner,
    check_new_path,
    filter_below,
    find_path_conflict,
    list_files,
    normalize_path,
)
from apps.ml.experiments.models import LoggedModel, LoggedModelArtifact, Run, RunArtifact
from apps.ml.experiments.states import DECLARED, ENDED
from apps.platform.artifacts import file_names
from apps.platform.artifacts.services import publish_tracked
from apps.platform.audit.services import record
from apps.platform.holds.queries import refuse_held
from deepseek.messages import N_

DIGESTS_TOLD = 100  # files of a deletion that its record names one by one; all of them are in one digest
KINDS: dict[type[Owner], str] = {Run: "run", LoggedModel: "logged_model"}


def put_file(
    *, actor: Actor, owner: Owner, path: str, stream: Iterable[bytes], size: int | None = None, media_type: str = ""
) -> FileRow:
    """Store the bytes of `stream` and let `path` of the run or logged model name them; `size` as announced, if it was.

    Raises Invalid for a path that cannot be one, Conflict where a file is in the way of a folder or the other way
    round, or where a hold keeps the bytes that the path names now, Refused for a run that a job keeps, and what
    publish_upload raises.
    """
    require(actor, "run.track", owner)
    path = normalize_path(path)
    check_new_path(path)
    require_writable(owner, actor)
    if not path:
        raise Invalid("A file needs a name.", code="bad_path", field="path", hint=N_("For instance plots/loss.png."))
    if blocking := find_path_conflict(owner, path):
        raise Conflict(
            "{path!r} cannot be a file beside {blocking!r}: one of them would be a folder.",
            path=path[:80],
            blocking=blocking[:80],
            code="path_taken",
            field="path",
            hint=N_("Choose another path, or delete that one first."),
        )
    name = path.rpartition("/")[2]
    stored = publish_tracked(
        actor=actor, project=owner.project, stream=stream, expected_size=size, name=name, media_type=media_type
    )
    about = {"path": path, "artifact": stored.artifact, "size": stored.artifact.size}
    about["media_type"] = file_names.clean_media_type(media_type)  # the project may hold equal bytes under another
    table: Any = RunArtifact if isinstance(owner, Run) else LoggedModelArtifact
    key = "run" if isinstance(owner, Run) else "model"
    row: FileRow = table(**{key: owner}, **about)
    with transaction.atomic():
        before = list_files(owner).filter(path=path).values_list("artifact_id", flat=True).first()
        if before is not None and before != row.artifact_id:
            refuse_held_files(owner)
        table.objects.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=[key, "path"],
            update_fields=["artifact", "size", "media_type"],
        )
        if before != row.artifact_id and has_ended(owner):
            record(
                actor=actor,
                action=f"{KINDS[type(owner)]}.amend",
                obj=owner,
                after={"path": path, "size": row.size},
                digests={"after": row.artifact_id} | ({"before": before} if before else {}),
            )
    return row


def has_ended(owner: Owner) -> bool:
    """Whether a run has ended or a model was declared by now, whatever it was when the upload began: from then on a
    change of its files has a record of its own."""
    if isinstance(owner, Run):
        return Run.objects.filter(pk=owner.pk, state__in=ENDED).exists()
    return LoggedModel.objects.filter(pk=owner.pk, state__in=DECLARED).exists()


def delete_files(*, actor: Actor, owner: Owner, path: str) -> int:
    """Forget a file, or a folder with everything below it; how many files. Harmless where there is nothing.

    Raises Conflict where a hold keeps them.
    """
    require(actor, "run.track", owner)
    path = normalize_path(path)
    require_writable(owner, actor)
    with transaction.atomic():
        rows = list_files(owner)
        gone = list(filter_below(rows, path).values_list("pk", "path", "artifact_id"))
        gone += list(rows.filter(path=path).values_list("pk", "path", "artifact_id")) if path else []
        if gone:
            refuse_held_files(owner)
        found, _ = rows.filter(pk__in=[pk for pk, _path, _digest in gone]).delete()
        if found:
            record(
                actor=actor,
                action=f"{KINDS[type(owner)]}.delete_files",
                obj=owner,
                before={"path": path, "files": found},
                digests={"files": compute_digest(sorted([at, digest] for _pk, at, digest in gone))}
                | {f"file {at}": digest for _pk, at, digest in gone[:DIGESTS_TOLD]},
            )
    return found


def refuse_held_files(owner: Owner) -> None:
    """Raise Conflict where a hold covers the run or logged model, its experiment or its project."""
    kind = "run" if isinstance(owner, Run) else "loggedmodel"
    refuse_held(owner.project_id, (kind, owner.pk), ("experiment", str(owner.experiment_id)))


def require_writable(owner: Owner, actor: Actor) -> None:
    """Raise Refused for a run that a job keeps, unless it is the job's own script that writes; NotFound or Invalid for
    what was deleted."""
    if isinstance(owner, LoggedModel):
        if owner.deleted_at is not None:
            raise NotFound("Logged model with ID '{owner_pk}' not found.", owner_pk=owner.pk, field="model_id")
        return
    if owner.job_id is not None and actor.run_id != owner.pk:
        raise Refused(
            "Run {owner_pk} is kept by job {job_id}; what a job made is not changed by hand.",
            owner_pk=owner.pk,
            job_id=owner.job_id,
            code="kept_by_a_job",
            action="run.track",
            field="run_id",
            hint=N_("Log files to a run of your own."),
            project_id=owner.project_id,
            **build_audit_reference(owner),
        )
    if owner.deleted_at is not None:
        raise Invalid(
            "The run {owner_pk} must be in the 'active' state. Current state is deleted.",
            owner_pk=owner.pk,
            code="run_deleted",
            field="run_id",
            hint=N_("Restore it first."),
        )
