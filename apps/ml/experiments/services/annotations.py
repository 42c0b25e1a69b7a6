"""Write the annotations of a run: note, tags, deletion and restoring.

Nothing here changes what was measured. A run that is deleted can be read and restored, and is not written meanwhile.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.core.revisions import compute_revision, require_revision
from apps.ml.experiments.keys import KEY_LIMIT, NAME_TAG, NOTE_TAG, TAG_LIMIT
from apps.ml.experiments.models import Run, RunTag
from apps.platform.audit.services import record
from apps.platform.holds.queries import refuse_held
from deepseek.messages import N_, Message

TAGS_LIMIT = 500  # of one run
MAX_RECORDED_CHARACTERS = 500  # characters of a value that the record shows; the digest is of all of it


def set_note(*, actor: Actor, run: Run, text: str, revision: str | None = None) -> None:
    """Let the run's note say `text`, in Markdown; "" removes it. The same again changes nothing.

    `revision`: that of the note the change was made from; None replaces whatever stands there. Raises StaleState where
    somebody else changed it meanwhile.
    """
    require(actor, "run.annotate", run)
    text = text.replace("\r\n", "\n").strip()
    check_value(text, field="text")
    write_tag(actor, run, NOTE_TAG, text or None, action="run.set_note", revision=revision)


def set_run_tag(*, actor: Actor, run: Run, key: str, value: str) -> None:
    """Give the run a tag, or another value to one that it has. Raises Invalid, Conflict for a deleted run."""
    require(actor, "run.annotate", run)
    check_key(key)
    check_value(value, field="value")
    write_tag(actor, run, key, value, action="run.set_tag")


def delete_run_tag(*, actor: Actor, run: Run, key: str) -> None:
    """Take a tag away. NotFound where the run has none of this key."""
    require(actor, "run.annotate", run)
    if not RunTag.objects.filter(run=run, key=key.replace("\x00", "")).exists():
        raise NotFound(
            "Run {run_pk} has no tag {key!r}.",
            run_pk=run.pk,
            key=key[:60],
            field="key",
            hint=N_("Read the run for its tags."),
        )
    write_tag(actor, run, key, None, action="run.delete_tag")


def compute_note_revision(text: str) -> str:
    return compute_revision({"text": text})


def write_tag(actor: Actor, run: Run, key: str, value: str | None, *, action: str, revision: str | None = None) -> None:
    """The tag as it shall be, None for none, and its record; nothing where it is so already."""
    with transaction.atomic():
        lock_active(run)
        tag = RunTag.objects.filter(run=run, key=key).first()
        if (tag.value if tag else None) == value:
            return
        require_revision(revision, {"text": tag.value if tag else ""})
        before = {} if tag is None else {key: tag.value[:MAX_RECORDED_CHARACTERS]}
        if value is None:
            run.tags.delete_key(key)
        else:
            if tag is None and RunTag.objects.filter(run=run).count() >= TAGS_LIMIT:
                raise Invalid(
                    "The run has {tags_limit} tags.",
                    tags_limit=TAGS_LIMIT,
                    field="key",
                    limit=TAGS_LIMIT,
                    hint=N_("Remove one first."),
                )
            run.tags.set_value(key, value)
        record(
            actor=actor,
            action=action,
            obj=run,
            before=before,
            after={} if value is None else {key: value[:MAX_RECORDED_CHARACTERS]},
            digests={} if value is None else {"value": sha256_hex(value)},
        )


def delete_run(*, actor: Actor, run: Run, reason: str = "") -> None:
    """Put the run away: lists leave it out, and nothing writes it.

    Conflict while its job goes on, if it is away, or where a hold keeps it.
    """
    require(actor, "run.annotate", run)
    with transaction.atomic():
        locked = lock_active(run)
        if locked.job is not None and not locked.job.ended:
            raise Conflict(
                "Job {job_id} still records this run.",
                job_id=locked.job_id,
                field="run",
                hint=N_("Cancel the job, or wait for its end."),
            )
        refuse_held(run.project_id, ("run", run.pk), ("experiment", str(run.experiment_id)))
        mark_deleted(actor, run, deleted=True, reason=reason)


def restore_run(*, actor: Actor, run: Run) -> None:
    """Bring a deleted run back as it was. Conflict where it is not deleted, or has begun to go for good."""
    require(actor, "run.annotate", run)
    with transaction.atomic():
        locked = Run.objects.select_for_update(no_key=True, of=("self",)).get(pk=run.pk)
        if locked.deleted_at is None:
            raise Conflict(
                "Run {run_pk} is not deleted.", run_pk=run.pk, field="run", hint=N_("Read the run for its state.")
            )
        refuse_purging(locked)
        mark_deleted(actor, run, deleted=False)


def mark_deleted(actor: Actor, run: Run, *, deleted: bool, reason: str = "") -> None:
    run.deleted_at = timezone.now() if deleted else None
    Run.objects.filter(pk=run.pk).update(deleted_at=run.deleted_at)
    record(
        actor=actor,
        action="run.delete" if deleted else "run.restore",
        obj=run,
        reason=reason[:MAX_RECORDED_CHARACTERS],
        before={"deleted": not deleted},
        after={"deleted": deleted},
        digests={"metrics": run.metrics_digest} if run.metrics_digest else {},
    )


def refuse_purging(locked: Run) -> None:
    """Raise Conflict for a run that a purge has begun to remove. `locked`: its row, locked."""
    if locked.purging_at is not None:
        raise Conflict(
            "Run {held_pk} has begun to go for good: its points are not whole any more.",
            held_pk=locked.pk,
            code="run_is_going",
            field="run",
            limit="a run that no purge has begun to remove",
            hint=N_("Make it again, or restore it from a backup of the plane."),
        )


def lock_active(run: Run) -> Run:
    """The run, its row locked; Conflict where it is deleted."""
    locked = Run.objects.select_for_update(no_key=True, of=("self",)).select_related("job").get(pk=run.pk)
    if locked.deleted_at is not None:
        raise Conflict(
            "Run {run_pk} is deleted.", run_pk=run.pk, code="run_deleted", field="run", hint=N_("Restore it first.")
        )
    return locked


def check_key(key: str) -> None:
    if not 0 < len(key) <= KEY_LIMIT or "\x00" in key or key != key.strip():
        raise Invalid(
            "{key!r} cannot be the key of a tag.",
            key=key[:60],
            field="key",
            limit=f"1 to {KEY_LIMIT} characters, none of them blank at the ends",
            hint=N_("For instance team."),
        )
    if key == NAME_TAG:
        raise Invalid(
            "{name_tag} is the name of the run, and no tag.",
            name_tag=NAME_TAG,
            field="key",
            hint=N_("Give the tag another key."),
        )


def check_value(value: str, *, field: str) -> None:
    if len(value) > TAG_LIMIT or "\x00" in value:
        raise Invalid(
            Message("It has {count} characters.", count=len(value))
            if len(value) > TAG_LIMIT
            else Message("It holds a NUL."),
            field=field,
            limit=f"{TAG_LIMIT} characters, no NUL",
            hint=N_("Keep what is longer as an artifact."),
        )
