"""Copies what one group has marked on the server, and brings both sides to the same tasks.

Three ways, by what they cost the server: the tasks that changed since the last round (every round); totals, with the
changes of the last minutes once more (every ten minutes); the index of all tasks, with those whose copy differs (where
the totals differ, or a person asked for it).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apps.ml.labelling.models import AnnotatorGroup, LabelTask, RemoteTask
from apps.ml.labelling.queries import RemoteCopy, count_annotations, load_remote_copies
from apps.ml.labelling.services import importing, syncing
from apps.platform.nodes.samples import get_database_now
from deepseek.labelling.label_studio import parse_result
from deepseek.messages import Message
from workers.labelling.importer import META_KEY
from workers.labelling.remote import IndexEntry, RemoteProject, parse_time
from workers.labelling.round import Round

SETTLE = timedelta(seconds=2)  # changes so young are read with the next round: others of their second may follow
LATE = timedelta(minutes=10)  # a transaction of the server that ends later than this after its change is not expected
SAVE_TIME = timedelta(seconds=2)  # the server stamps an annotation and then its task


class Reconciliation:
    def __init__(self, turn: Round, group: AnnotatorGroup) -> None:
        assert group.remote_project is not None  # noqa: S101 - the import comes first
        self.turn, self.group, self.project = turn, group, group.remote_project
        self.remote = turn.remote

    def run(self) -> Message | None:
        """One round of copying; returns what a person has to know of the project there."""
        cursor, due_at = self.group.cursor, self.turn.labelling.full_sync_at
        newest = self.remote.get_newest_change(self.project) if cursor is None else None  # before the totals
        there = self.remote.get_project(self.project)
        is_due = due_at is None or due_at <= get_database_now()
        if due_at is None or self.lacks_tasks(there) or ((is_due or cursor is None) and self.has_other_totals(there)):
            self.compare_index()
        elif cursor is None:
            self.advance(newest)  # nothing was marked before it, as the totals say
        else:
            if is_due:
                self.copy_changes(cursor - LATE, only_marked=True)
            self.advance(self.copy_changes(cursor))
        return self.describe_config(there)

    def lacks_tasks(self, there: RemoteProject) -> bool:
        """Whether tasks were deleted there, by their number."""
        recorded = RemoteTask.objects.filter(group=self.group, remote_id__isnull=False)
        replaced = self.group.annotations.filter(is_deleted=False).exclude(remote_task__in=recorded.values("remote_id"))
        return there.tasks < recorded.count() + replaced.values("remote_task").distinct().count()

    def has_other_totals(self, there: RemoteProject) -> bool:
        return count_annotations(self.group) != (there.annotations, there.skipped)

    def describe_config(self, there: RemoteProject) -> Message | None:
        schema = self.turn.labelling.schema
        if there.config.strip() == schema.config:
            return None
        return Message(
            "The labelling interface of group {group} was changed in Label Studio; the schema here is {schema}.",
            group=self.group.name,
            schema=str(schema),
        )

    # -- what changed ------------------------------------------------------------------------------------------------
    def copy_changes(self, since: datetime, *, only_marked: bool = False) -> datetime | None:
        """Copy what changed at or after `since`; returns the time of the last change, None where it was stopped."""
        newest: datetime | None = None
        for page in self.remote.iterate_changed_tasks(self.project, since, only_marked=only_marked):
            self.turn.keep_lease()
            self.store_page(page)
            newest = max(parse_time(task.updated_at) for task in page)
            if self.turn.stopping():
                return None
        return newest

    def advance(self, newest: datetime | None) -> None:
        """Up to `newest` everything is here, less a moment in which a slower transaction of the server may end.

        Both times are the server's own.
        """
        if newest is None:
            return
        clock = self.remote.clock or newest
        cursor = min(newest, clock - SETTLE)
        if self.group.cursor is None or cursor > self.group.cursor:
            syncing.advance_cursor(actor=self.turn.actor, group=self.group, cursor=cursor)

    # -- everything --------------------------------------------------------------------------------------------------
    def compare_index(self) -> None:
        """Compare every task there with its copy here, and copy those that differ."""
        newest = self.remote.get_newest_change(self.project)  # what changes while the index is read comes after it
        copies = load_remote_copies(self.group)
        present: set[int] = set()
        for page in self.remote.iterate_index(self.project):
            self.turn.keep_lease()
            present.update(entry.remote_id for entry in page)
            differing = [entry.remote_id for entry in page if is_different(entry, copies.get(entry.remote_id))]
            for tasks in self.remote.iterate_tasks(self.project, differing):
                self.turn.keep_lease()
                self.store_page(tasks)
            if self.turn.stopping():
                return
        labelling, group = self.turn.labelling, self.group
        recorded = {one for one in group.remote_tasks.values_list("remote_id", flat=True).iterator() if one is not None}
        if missing := sorted(recorded - present):
            importing.forget_remote_tasks(actor=self.turn.actor, labelling=labelling, group=group, remote_ids=missing)
        gone = set(copies) - present - recorded  # of tasks that were sent back, and deleted there since
        if gone:
            syncing.delete_annotations(
                actor=self.turn.actor, labelling=labelling, group=group, remote_tasks=sorted(gone)
            )
        self.delete_duplicates(sorted(present - recorded - set(copies)))
        self.advance(newest)

    def delete_duplicates(self, remote_ids: list[int]) -> None:
        """Delete tasks that an import has left twice, where nobody has marked them.

        An import that was given up may end on the server after the next attempt. Tasks of others stay.
        """
        deleted = 0
        for page in self.remote.iterate_tasks(self.project, remote_ids, include="id,meta,annotations"):
            keys = {int(task.id): (task.meta or {}).get(META_KEY) for task in page if not task.annotations}
            numbers = [key for key in keys.values() if isinstance(key, int)]
            imported = set(
                RemoteTask.objects.filter(group=self.group, task__in=numbers, remote_id__isnull=False).values_list(
                    "task_id", flat=True
                )
            )
            for remote_id, key in keys.items():
                if key in imported:
                    self.turn.keep_lease()
                    self.remote.delete_task(remote_id)
                    deleted += 1
        if deleted:
            importing.record_duplicates(
                actor=self.turn.actor, labelling=self.turn.labelling, group=self.group, deleted=deleted
            )

    # -- annotations -------------------------------------------------------------------------------------------------
    def store_page(self, page: list[Any]) -> None:
        """Copy the annotations of these tasks."""
        texts = self.load_texts([int(task.id) for task in page])
        rows = [
            self.read_annotation(one, int(task.id), texts.get(int(task.id), ""))
            for task in page
            for one in task.annotations or []
        ]
        syncing.store_annotations(
            actor=self.turn.actor,
            labelling=self.turn.labelling,
            group=self.group,
            annotations=rows,
            complete_tasks=[int(task.id) for task in page],
        )

    def load_texts(self, remote_ids: list[int]) -> dict[int, str]:
        """{task of the server: its text}, of those that were sent back as well."""
        current = RemoteTask.objects.filter(group=self.group, remote_id__in=remote_ids)
        tasks = {remote: task for remote, task in current.values_list("remote_id", "task_id") if remote}
        earlier = self.group.annotations.filter(remote_task__in=set(remote_ids) - set(tasks))
        tasks.update(earlier.values_list("remote_task", "task_id"))
        data = dict(LabelTask.objects.filter(pk__in=set(tasks.values())).values_list("pk", "data"))
        return {remote: str(data[task].get("text", "")) for remote, task in tasks.items()}

    def read_annotation(self, row: Any, task: int, text: str) -> syncing.RemoteAnnotation:
        facts = row if isinstance(row, dict) else row.model_dump()
        marks, unknown = parse_result(facts.get("result"), self.turn.schema, text)
        by = facts.get("completed_by")
        user = int(by.get("id", 0) if isinstance(by, dict) else by or 0)
        return syncing.RemoteAnnotation(
            remote_id=int(facts["id"]),
            remote_task=task,
            user=user,
            user_name=self.turn.users.get(user, ""),
            marks=marks.to_dict(),
            unknown=unknown,
            seconds=float(facts.get("lead_time") or 0),
            is_skipped=bool(facts.get("was_cancelled")),
            created_at=parse_time(facts["created_at"]),
            updated_at=parse_time(facts["updated_at"]),
        )


def is_different(entry: IndexEntry, copy: RemoteCopy | None) -> bool:
    """Whether a task there may hold what its copy here does not: other numbers, or a change after the newest copy."""
    if copy is None:
        return bool(entry.annotations or entry.skipped)
    return (entry.annotations, entry.skipped) != (copy.annotations, copy.skipped) or (
        entry.updated_at > copy.updated_at + SAVE_TIME
    )
