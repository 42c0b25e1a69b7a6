"""What annotators have marked, as the driver copies it here; and what follows for the tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Avg, Count, Q, Sum

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.labelling.models import (
    Annotation,
    Annotator,
    AnnotatorGroup,
    LabellingProject,
    LabelTask,
    RemoteTask,
)
from apps.ml.labelling.queries import load_current_annotations
from apps.ml.labelling.services.importing import count_remote, require_row
from apps.ml.labelling.services.projects import FULL_SYNC
from apps.ml.labelling.states import TaskState
from apps.platform.nodes.samples import get_database_now
from deepseek.labelling.label_studio import list_violations
from deepseek.labelling.marks import Marks
from deepseek.labelling.schema import LabellingSchema

TASKS_AT_ONCE = 500
DECIDED = (TaskState.ADJUDICATED,)  # by a person: what annotators mark later does not change it


@dataclass(frozen=True, slots=True)
class RemoteAnnotation:
    """An annotation as the server has it, with its marks as Marks.to_dict gives them."""

    remote_id: int
    remote_task: int
    user: int
    user_name: str
    marks: Mapping[str, Any]
    unknown: Sequence[str]
    seconds: float
    is_skipped: bool
    created_at: datetime
    updated_at: datetime


def store_annotations(
    *,
    actor: Actor,
    labelling: LabellingProject,
    group: AnnotatorGroup,
    annotations: Iterable[RemoteAnnotation],
    complete_tasks: Iterable[int] = (),
) -> set[int]:
    """Take over what is newer than the copy here; returns the tasks that changed.

    `complete_tasks`: ids on the server of tasks all of whose annotations are given: one that is missing was deleted
    there. Twice the same changes nothing; of two copies the later by the server's time stands.
    """
    require(actor, "labelling.drive")
    rows, complete = list(annotations), list(complete_tasks)
    remote_ids = list({*(row.remote_task for row in rows), *complete})
    changed: set[int] = set()
    with transaction.atomic():
        locked = LabellingProject.objects.select_for_update().get(pk=labelling.pk)
        require_row(locked.owner == labelling.owner)
        tasks = load_task_ids(group, remote_ids)
        present = load_annotations(group, [row.remote_id for row in rows])
        of_tasks = [row for row in rows if row.remote_task in tasks]
        annotators = ensure_annotators(labelling, {row.user: row.user_name for row in of_tasks})
        new: list[Annotation] = []
        later: list[Annotation] = []
        for row in of_tasks:
            old = present.get(row.remote_id)
            if old is not None and is_current(old, row):
                continue
            fields: dict[str, Any] = {
                "task_id": tasks[row.remote_task],
                "remote_task": row.remote_task,
                "annotator_id": annotators[row.user],
                "created_at": row.created_at,
                "marks": row.marks,
                "unknown": list(row.unknown),
                "seconds": row.seconds,
                "is_skipped": row.is_skipped,
                "is_deleted": False,
                "updated_at": row.updated_at,
            }
            if old is None:
                new.append(Annotation(group=group, remote_id=row.remote_id, **fields))
            else:
                changed.add(old.task_id)  # the server gives the id of a deleted annotation to another one
                for name, value in fields.items():
                    setattr(old, name, value)
                later.append(old)
            changed.add(tasks[row.remote_task])
        Annotation.objects.bulk_create(new, batch_size=500)
        names = ["marks", "unknown", "seconds", "is_skipped", "is_deleted", "updated_at", "created_at"]
        Annotation.objects.bulk_update(later, [*names, "task", "remote_task", "annotator"], batch_size=200)
        changed |= mark_deleted(
            group, [remote_task for remote_task in complete if remote_task in tasks], {row.remote_id for row in rows}
        )
        if changed:
            evaluate_tasks(labelling, changed)
            LabellingProject.objects.filter(pk=labelling.pk).update(changed_at=get_database_now())
    return changed


def load_task_ids(group: AnnotatorGroup, remote_ids: Sequence[int]) -> dict[int, int]:
    """{task of the server: task here}; also of those that were sent back: an edit there is one still."""
    tasks: dict[int, int] = {}
    for start in range(0, len(remote_ids), TASKS_AT_ONCE):
        chosen = remote_ids[start : start + TASKS_AT_ONCE]
        earlier = group.annotations.filter(remote_task__in=chosen, is_deleted=False)
        tasks.update(earlier.values_list("remote_task", "task_id"))
        current = RemoteTask.objects.filter(group=group, remote_id__in=chosen)
        tasks.update((remote, task) for remote, task in current.values_list("remote_id", "task_id") if remote)
    return tasks


def is_current(old: Annotation, row: RemoteAnnotation) -> bool:
    """Whether the copy stands: it is as new, or it was read under another schema's labels and reads the same now."""
    if old.is_deleted or old.updated_at < row.updated_at or old.created_at != row.created_at:
        return False
    if old.unknown and old.updated_at == row.updated_at:
        return bool(old.unknown == list(row.unknown) and old.marks == row.marks)
    return True


def mark_deleted(group: AnnotatorGroup, tasks: Sequence[int], present: set[int]) -> set[int]:
    """Annotations of these tasks of the server that it no longer has. Returns the tasks of the plane."""
    gone: set[int] = set()
    for start in range(0, len(tasks), TASKS_AT_ONCE):
        rows = Annotation.objects.filter(
            group=group, remote_task__in=tasks[start : start + TASKS_AT_ONCE], is_deleted=False
        )
        missing = [
            (pk, task) for pk, remote, task in rows.values_list("pk", "remote_id", "task") if remote not in present
        ]
        if missing:
            Annotation.objects.filter(pk__in=[pk for pk, _task in missing]).update(is_deleted=True)
            gone |= {task for _pk, task in missing}
    return gone


def delete_annotations(
    *, actor: Actor, labelling: LabellingProject, group: AnnotatorGroup, remote_tasks: Sequence[int]
) -> int:
    """Those of tasks that the server no longer has count no more; unless the tasks are about to be restored there."""
    require(actor, "labelling.drive")
    with transaction.atomic():
        locked = LabellingProject.objects.select_for_update().get(pk=labelling.pk)
        require_row(locked.owner == labelling.owner)
        waiting = RemoteTask.objects.filter(group=group, remote_id=None).exclude(returned={})
        restored = {row.returned.get("restore") for row in waiting}
        gone = mark_deleted(group, [remote for remote in remote_tasks if remote not in restored], set())
        if gone:
            evaluate_tasks(labelling, gone)
            LabellingProject.objects.filter(pk=labelling.pk).update(changed_at=get_database_now())
    return len(gone)


def load_annotations(group: AnnotatorGroup, remote_ids: Sequence[int]) -> dict[int, Annotation]:
    present: dict[int, Annotation] = {}
    for start in range(0, len(remote_ids), TASKS_AT_ONCE):
        chosen = Annotation.objects.filter(group=group, remote_id__in=remote_ids[start : start + TASKS_AT_ONCE])
        present.update({row.remote_id: row for row in chosen})
    return present


def ensure_annotators(labelling: LabellingProject, users: Mapping[int, str]) -> dict[int, int]:
    """{user of the server: annotator}; new ones get the next pseudonym."""
    present = dict(labelling.annotators.values_list("remote_user", "pk"))
    for user in sorted(set(users) - set(present)):
        row = Annotator.objects.create(
            labelling=labelling, remote_user=user, pseudonym=f"A{len(present) + 1}", name=users[user][:200]
        )
        present[user] = row.pk
    return present


def evaluate_tasks(labelling: LabellingProject, tasks: Iterable[int]) -> None:
    """Derive the states of tasks from their annotations, and send back what violates a rule.

    Under the lock of the labelling project's row: what a person decides at the same time is not written over.
    """
    schema = LabellingSchema.model_validate(labelling.schema.document)
    listed = sorted(tasks)
    for start in range(0, len(listed), TASKS_AT_ONCE):
        chosen = listed[start : start + TASKS_AT_ONCE]
        rows = list(LabelTask.objects.filter(pk__in=chosen).exclude(state__in=DECIDED))
        current = load_current_annotations(chosen)
        expected = dict(
            RemoteTask.objects.filter(task__in=chosen).order_by().values_list("task").annotate(count=Count("pk"))
        )
        back: dict[AnnotatorGroup, dict[int, dict[str, Any]]] = {}
        for task in rows:
            evaluate_task(task, current.get(task.pk, []), expected.get(task.pk, 1), schema, back)
        LabelTask.objects.bulk_update(rows, ["state", "marks", "violations"], batch_size=200)
        for group, returned in back.items():
            send_back(group, returned)


def send_back(group: AnnotatorGroup, returned: Mapping[int, Mapping[str, Any]]) -> None:
    """{task: {annotation, marks, rules}}: these violate a rule, and become new tasks of the same group."""
    rows = []
    for row in RemoteTask.objects.filter(group=group, task__in=list(returned)):
        if row.returned.get("annotation") != returned[row.task_id]["annotation"]:  # else it was sent back before
            row.remote_id, row.returned = None, dict(returned[row.task_id])
            rows.append(row)
    RemoteTask.objects.bulk_update(rows, ["remote_id", "returned"], batch_size=500)


def evaluate_task(
    task: LabelTask,
    current: Sequence[Annotation],
    expected: int,
    schema: LabellingSchema,
    back: dict[AnnotatorGroup, dict[int, dict[str, Any]]],
) -> None:
    """Set state, marks and violations of one task; what has to go back is added to `back`."""
    text = str(task.data.get("text", ""))
    standing = [row for row in current if not row.is_skipped and not row.unknown]
    task.state, task.marks, task.violations = TaskState.OPEN, None, []
    for row in standing:
        broken = list_violations(schema, Marks.from_dict(row.marks), text)
        if broken:
            task.violations = list(dict.fromkeys([*task.violations, *broken]))
            sent = {"annotation": row.remote_id, "marks": row.marks, "rules": broken}
            back.setdefault(row.group, {})[task.pk] = sent
    if task.violations:
        task.state = TaskState.RETURNED
    elif len(current) >= expected and not standing and not any(row.unknown for row in current):
        task.state = TaskState.SKIPPED
    elif len(current) >= expected and len(standing) == len(current):
        if all(row.marks == standing[0].marks for row in standing):
            task.state, task.marks = TaskState.AGREED, standing[0].marks
        else:
            task.state = TaskState.DISPUTED


def advance_cursor(*, actor: Actor, group: AnnotatorGroup, cursor: datetime) -> None:
    """What the server changed up to then is here."""
    require(actor, "labelling.drive")
    labelling = group.labelling
    AnnotatorGroup.objects.filter(pk=group.pk, labelling__owner=labelling.owner).update(cursor=cursor)
    group.cursor = cursor


def record_full_sync(*, actor: Actor, labelling: LabellingProject) -> None:
    """Everything was compared; unless a person has asked for it anew meanwhile."""
    require(actor, "labelling.drive")
    mine = LabellingProject.objects.filter(pk=labelling.pk, owner=labelling.owner)
    if labelling.full_sync_at is not None:
        mine = mine.filter(full_sync_at=labelling.full_sync_at)
    mine.update(full_sync_at=get_database_now() + FULL_SYNC)


def record_progress(*, actor: Actor, labelling: LabellingProject) -> dict[str, Any]:
    """Count tasks and what each annotator did, for pages that must not count 100,000 rows."""
    require(actor, "labelling.drive")
    tasks = LabelTask.objects.filter(labelling=labelling).order_by().values_list("state").annotate(count=Count("pk"))
    imported, total = count_remote(labelling)
    progress = {
        "tasks": dict(tasks),
        "imported": imported,
        "to_import": total,
        "annotators": count_annotators(labelling),
    }
    unknown = Annotation.objects.filter(group__labelling=labelling, is_deleted=False).exclude(unknown=[])
    progress["unknown"] = sorted({value for row in unknown.values_list("unknown", flat=True)[:1000] for value in row})
    LabellingProject.objects.filter(pk=labelling.pk, owner=labelling.owner).update(progress=progress)
    labelling.progress = progress
    return progress


def count_annotators(labelling: LabellingProject) -> list[dict[str, Any]]:
    """Annotations, skips and seconds of each annotator, and how fast the median of work goes."""
    rows = (
        Annotation.objects.filter(group__labelling=labelling, is_deleted=False)
        .order_by()
        .values("annotator__pseudonym", "group__name")
        .annotate(
            count=Count("pk"),
            skipped=Count("pk", filter=Q(is_skipped=True)),
            total_seconds=Sum("seconds"),
            mean_seconds=Avg("seconds", filter=Q(is_skipped=False)),
        )
    )
    return [
        {
            "annotator": row["annotator__pseudonym"],
            "group": row["group__name"],
            "count": row["count"],
            "skipped": row["skipped"],
            "minutes": round((row["total_seconds"] or 0) / 60, 2),
            "seconds_each": round(row["mean_seconds"] or 0, 2),
        }
        for row in rows.order_by("annotator__pseudonym", "group__name")
    ]


def record_agreement(
    *,
    actor: Actor,
    labelling: LabellingProject,
    agreement: Mapping[str, Any],
    value: float | None,
    measured_at: datetime,
) -> None:
    """What the engine measured of the annotations that were here at `measured_at`."""
    require(actor, "labelling.drive")
    mine = LabellingProject.objects.filter(pk=labelling.pk, owner=labelling.owner)
    mine.update(agreement=dict(agreement), agreement_value=value, measured_at=measured_at)
    labelling.agreement, labelling.agreement_value = dict(agreement), value
