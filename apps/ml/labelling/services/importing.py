"""What the driver writes while tasks are read from the source and go to the server.

Whoever holds the lease of a labelling project drives it; every write here asks for it, so that a late twin changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.ml.labelling.models import AnnotatorGroup, LabellingProject, LabelTask, RemoteTask
from apps.ml.labelling.notices import replace_notices
from apps.ml.labelling.states import LabellingState
from apps.platform.audit.services import change_state, record
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import Message

LEASE = timedelta(seconds=120)
ROWS_AT_ONCE = 2000
MAX_TASKS = 200_000
SPREAD = 2654435761  # Knuth's multiplicative hash: which tasks every group marks does not follow their order


def take_labelling(*, actor: Actor, owner: str) -> LabellingProject | None:
    """Take the lease of one that is due; None where none is."""
    require(actor, "labelling.drive")
    now = get_database_now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    due = LabellingProject.objects.filter(free, next_at__lte=now)
    for pk in due.order_by("next_at").values_list("pk", flat=True)[:5]:
        due_project = LabellingProject.objects.filter(free, pk=pk, next_at__lte=now)
        if due_project.update(owner=owner, lease_until=now + LEASE):
            return LabellingProject.objects.select_related(
                "project", "server", "schema__schema", "source__dataset", "parent", "prelabel_version__model"
            ).get(pk=pk)
    return None


def renew_lease(*, actor: Actor, labelling: LabellingProject) -> None:
    """Keep the lease while a round goes on. Raises StaleState where another has it, or the project was closed."""
    require(actor, "labelling.drive")
    until = get_database_now() + LEASE
    mine = LabellingProject.objects.filter(pk=labelling.pk, owner=labelling.owner)
    require_row(mine.exclude(state=LabellingState.CLOSED).update(lease_until=until))


def release_labelling(
    *, actor: Actor, labelling: LabellingProject, pause: timedelta, failure: Message | None = None
) -> None:
    """End the round: the next one comes after `pause`, or sooner if something has rung meanwhile.

    People are notified of what they have to do, once for each condition.
    """
    require(actor, "labelling.drive")
    now = get_database_now()
    with transaction.atomic():
        rows = LabellingProject.objects.select_for_update(of=("self",)).select_related("project")
        locked = rows.filter(pk=labelling.pk, owner=labelling.owner).first()
        if locked is None:
            return
        locked.failure = failure.as_fields() if failure else {}
        locked.failed_at = (locked.failed_at or now) if failure else None
        fields: dict[str, Any] = {name: getattr(locked, name) for name in ("failure", "failed_at")}
        # A webhook or a person that rang during the round has moved next_at: that ring is not to be lost.
        if locked.next_at == labelling.next_at:
            fields["next_at"] = now + pause
        notified = replace_notices(locked, now)
        LabellingProject.objects.filter(pk=locked.pk).update(lease_until=None, owner="", notified=notified, **fields)


def fail_labelling(*, actor: Actor, labelling: LabellingProject, failure: Message) -> None:
    """Its source cannot become tasks: that does not mend itself."""
    require(actor, "labelling.drive")
    now = get_database_now()
    with transaction.atomic():
        change_state(
            labelling,
            LabellingState.FAILED,
            actor=actor,
            guard={"owner": labelling.owner},
            reason=str(failure)[:500],
            failure=failure.as_fields(),
            failed_at=now,
            next_at=None,
            lease_until=None,
        )
        notified = replace_notices(labelling, now)
        LabellingProject.objects.filter(pk=labelling.pk).update(notified=notified)


def store_tasks(*, actor: Actor, labelling: LabellingProject, tasks: Iterable[Mapping[str, Any]]) -> int:
    """Write the tasks of the source, in one transaction: {row, data, prelabel, uncertainty, gold}, in their order.

    Each goes to one group in turn; a share of them, and every gold task, to all. Raises StaleState where another
    driver has the lease.
    """
    require(actor, "labelling.drive")
    groups = list(labelling.groups.order_by("number"))
    with transaction.atomic():
        locked = LabellingProject.objects.select_for_update().get(pk=labelling.pk)
        require_row(locked.owner == labelling.owner and locked.state == LabellingState.PREPARING)
        count = 0
        for batch in split_batches(tasks, ROWS_AT_ONCE):
            rows = [LabelTask(labelling=labelling, number=count + place, **task) for place, task in enumerate(batch)]
            LabelTask.objects.bulk_create(rows)
            remote = [
                RemoteTask(group=group, task=row, number=row.number)
                for row in rows
                for group in choose_groups(groups, row.number, labelling.overlap, is_gold=row.gold is not None)
            ]
            RemoteTask.objects.bulk_create(remote)
            count += len(rows)
        change_state(
            locked,
            LabellingState.IMPORTING,
            actor=actor,
            tasks_count=count,
            progress={"tasks": {"open": count}, "imported": 0, "to_import": count_remote(labelling)[1]},
        )
    labelling.refresh_from_db(fields=["state", "tasks_count", "progress"])
    return count


def choose_groups(
    groups: Sequence[AnnotatorGroup], number: int, overlap: float, *, is_gold: bool
) -> Sequence[AnnotatorGroup]:
    """The groups that mark a task: all of them for the share `overlap` and for gold, else one in turn."""
    if len(groups) == 1 or is_gold or (number * SPREAD % 2**32) < overlap * 2**32:
        return groups
    return [groups[number % len(groups)]]


def record_remote_project(*, actor: Actor, group: AnnotatorGroup, remote_project: int, hook: int | None = None) -> None:
    """Which project of the server the group has, and its webhook."""
    require(actor, "labelling.drive")
    with transaction.atomic():
        AnnotatorGroup.objects.filter(pk=group.pk).update(remote_project=remote_project, hook=hook)
        record(
            actor=actor,
            action="labelling.create_remote_project",
            obj=group.labelling,
            after={"group": group.name, "remote_project": remote_project},
        )
    group.remote_project, group.hook = remote_project, hook


def list_next_batch(*, actor: Actor, group: AnnotatorGroup, most: int) -> list[RemoteTask]:
    """What is to be imported next; the group is marked, so that a driver that dies before the answer is noticed."""
    require(actor, "labelling.drive")
    rows = RemoteTask.objects.filter(group=group, remote_id=None).select_related("task").order_by("number")[:most]
    batch = list(rows)
    if batch and not group.is_import_open:
        AnnotatorGroup.objects.filter(pk=group.pk).update(is_import_open=True)
        group.is_import_open = True
    return batch


def record_imported(
    *, actor: Actor, labelling: LabellingProject, group: AnnotatorGroup, remote_ids: Mapping[int, int]
) -> int:
    """{task: its id on the server} of a batch that was imported. Raises StaleState without the lease."""
    require(actor, "labelling.drive")
    with transaction.atomic():
        locked = LabellingProject.objects.select_for_update().get(pk=labelling.pk)
        require_row(locked.owner == labelling.owner)
        rows = list(RemoteTask.objects.filter(group=group, task__in=list(remote_ids), remote_id=None))
        for row in rows:
            row.remote_id = remote_ids[row.task_id]
            if restored := row.returned.get("restore"):  # with its annotations, which come back under new ids
                group.annotations.filter(task=row.task_id, remote_task=restored).update(is_deleted=True)
                row.returned = {}
        RemoteTask.objects.bulk_update(rows, ["remote_id", "returned"], batch_size=500)
        AnnotatorGroup.objects.filter(pk=group.pk).update(is_import_open=False)
        if labelling.state == LabellingState.IMPORTING:
            progress = dict(locked.progress)
            progress["imported"] = progress.get("imported", 0) + len(rows)
            LabellingProject.objects.filter(pk=labelling.pk).update(progress=progress)
    group.is_import_open = False
    return len(rows)


def finish_import(*, actor: Actor, labelling: LabellingProject) -> None:
    """Every task is on the server: labelling begins."""
    require(actor, "labelling.drive")
    change_state(labelling, LabellingState.LABELLING, actor=actor, guard={"owner": labelling.owner})


def forget_remote_tasks(
    *, actor: Actor, labelling: LabellingProject, group: AnnotatorGroup, remote_ids: Sequence[int]
) -> int:
    """These were deleted on the server: they are imported again, with what was marked in them."""
    require(actor, "labelling.drive")
    forgotten = 0
    with transaction.atomic():
        locked = LabellingProject.objects.select_for_update().get(pk=labelling.pk)
        require_row(locked.owner == labelling.owner)
        for start in range(0, len(remote_ids), 500):
            rows = list(RemoteTask.objects.filter(group=group, remote_id__in=remote_ids[start : start + 500]))
            for row in rows:
                row.returned, row.remote_id = {"restore": row.remote_id}, None
            RemoteTask.objects.bulk_update(rows, ["remote_id", "returned"], batch_size=500)
            forgotten += len(rows)
        if forgotten:
            record(
                actor=actor,
                action="labelling.restore_tasks",
                obj=labelling,
                after={"group": group.name, "tasks": forgotten},
            )
    return forgotten


def record_duplicates(*, actor: Actor, labelling: LabellingProject, group: AnnotatorGroup, deleted: int) -> None:
    """Tasks that an import had left twice were deleted on the server."""
    require(actor, "labelling.drive")
    after = {"group": group.name, "tasks": deleted}
    record(actor=actor, action="labelling.delete_duplicates", obj=labelling, after=after)


def count_remote(labelling: LabellingProject) -> tuple[int, int]:
    """(imported, all) of the tasks of all groups."""
    rows = RemoteTask.objects.filter(group__labelling=labelling)
    return rows.filter(remote_id__isnull=False).count(), rows.count()


def ring_labelling(*, actor: Actor, group: AnnotatorGroup) -> None:
    """A webhook says that something has changed there: look soon. Nothing in it is taken as true."""
    require(actor, "labelling.ring", group.labelling)
    now = get_database_now()
    later = LabellingProject.objects.filter(pk=group.labelling_id, state=LabellingState.LABELLING, next_at__gt=now)
    later.update(next_at=now)


def require_row(is_mine: object) -> None:
    if not is_mine:
        raise StaleState("Another driver has this labelling project.")


def split_batches(rows: Iterable[Mapping[str, Any]], size: int) -> Iterable[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
