"""What pages, REST and the driver read of labelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q, QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.ml.labelling.models import (
    Annotation,
    AnnotatorGroup,
    LabellingProject,
    LabellingProjectQuerySet,
    LabelSchema,
    LabelSchemaQuerySet,
    LabelSchemaVersion,
    LabelServer,
    LabelServerQuerySet,
    LabelTask,
    LabelTaskQuerySet,
    RemoteTask,
)
from apps.ml.labelling.states import LabellingState, TaskState
from apps.platform.accounts.models import Project
from apps.platform.nodes.samples import get_database_now

MAX_ID = 2**63 - 1


def list_servers(actor: Actor, project: Project) -> LabelServerQuerySet:
    policy.require(actor, "labelling.view", project)
    return LabelServer.objects.visible_to(actor).filter(project=project).select_related("project")


def get_server(actor: Actor, project: Project, name: str) -> LabelServer:
    server = list_servers(actor, project).filter(name=name).first()
    if server is None:
        raise NotFound("This project has no connection {name!r}.", name=name[:60], field="server")
    return server


def list_schemas(actor: Actor, project: Project) -> LabelSchemaQuerySet:
    policy.require(actor, "labelling.view", project)
    return LabelSchema.objects.visible_to(actor).filter(project=project)


def list_project_schema_versions(actor: Actor, project: Project) -> QuerySet[LabelSchemaVersion]:
    """The versions of every schema of the project, to be paged by `-id`."""
    schemas = list_schemas(actor, project)
    return LabelSchemaVersion.objects.filter(schema__in=schemas).select_related("schema")


def list_schema_versions(actor: Actor, project: Project, name: str) -> QuerySet[LabelSchemaVersion]:
    """The versions of one schema, newest first; NotFound."""
    policy.require(actor, "labelling.view", project)
    schema = list_schemas(actor, project).filter(name=name).first()
    if schema is None:
        raise NotFound("This project has no schema {name!r}.", name=name[:60], field="schema")
    return LabelSchemaVersion.objects.filter(schema=schema).select_related("schema").order_by("-number")


def get_schema_version(actor: Actor, project: Project, name: str, number: str | int) -> LabelSchemaVersion:
    version_number = int(number) if str(number).isdecimal() and int(number) < 2**31 else 0
    version = list_schema_versions(actor, project, name).filter(number=version_number).first()
    if version is None:
        raise NotFound(
            "The schema {name!r} has no version {number}.", name=name, number=str(number)[:12], field="schema"
        )
    return version


def get_schema_version_by_id(actor: Actor, project: Project, pk: int) -> LabelSchemaVersion:
    version = list_project_schema_versions(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if version is None:
        raise NotFound("This project has no schema version {pk}.", pk=pk, field="schema")
    return version


def list_labellings(actor: Actor, project: Project, *, state: str = "", level: str = "") -> LabellingProjectQuerySet:
    """The labelling projects of the project; Invalid for an unknown state."""
    policy.require(actor, "labelling.view", project)
    validate_choice("state", state, LabellingState.values)
    rows = LabellingProject.objects.visible_to(actor).filter(project=project)
    rows = rows.select_related("project", "server", "schema__schema", "source__dataset", "parent", "result__dataset")
    rows = rows.defer("source__manifest", "result__manifest")
    narrow = {"state": state, "schema__level": level}
    return rows.filter(**{field: value for field, value in narrow.items() if value})


def get_labelling(actor: Actor, project: Project, pk: int) -> LabellingProject:
    row = list_labellings(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if row is None:
        raise NotFound("This project has no labelling project {pk}.", pk=pk, field="id")
    return row


def list_tasks(actor: Actor, labelling: LabellingProject, *, state: str = "") -> LabelTaskQuerySet:
    """The tasks in the order that annotators meet them; Invalid for an unknown state."""
    policy.require(actor, "labelling.view", labelling)
    validate_choice("state", state, TaskState.values)
    rows = LabelTask.objects.visible_to(actor).filter(labelling=labelling)
    return rows.filter(state=state) if state else rows


def get_task(actor: Actor, labelling: LabellingProject, number: int) -> LabelTask:
    """The task with this number from 1; NotFound."""
    task = list_tasks(actor, labelling).filter(number=number - 1).first() if 0 < number < 2**31 else None
    if task is None:
        raise NotFound("{labelling} has no task {number}.", labelling=labelling.name, number=number, field="number")
    task.labelling = labelling
    return task


def load_current_annotations(tasks: Sequence[int]) -> dict[int, list[Annotation]]:
    """{task: the annotation that stands of each group, in the order of groups}: the newest that was neither deleted.

    One query. A skipped one stands too; callers tell.
    """
    rows = Annotation.objects.filter(task__in=tasks, is_deleted=False).select_related("annotator", "group")
    newest: dict[tuple[int, int], Annotation] = {}
    for row in rows.order_by("task_id", "group__number", "updated_at", "remote_id"):
        newest[(row.task_id, row.group.number)] = row
    grouped: dict[int, list[Annotation]] = {}
    for (task, _group), row in sorted(newest.items()):
        grouped.setdefault(task, []).append(row)
    return grouped


def load_restorable(group: AnnotatorGroup, rows: Sequence[RemoteTask]) -> dict[int, list[Annotation]]:
    """{task: its annotations}, of the tasks among `rows` that were deleted on the server. One query."""
    deleted = {row.task_id: row.returned["restore"] for row in rows if row.returned.get("restore")}
    grouped: dict[int, list[Annotation]] = {}
    if deleted:
        marked = group.annotations.filter(task__in=list(deleted), is_deleted=False).select_related("annotator")
        for row in marked.order_by("created_at", "pk"):
            if row.remote_task == deleted[row.task_id]:
                grouped.setdefault(row.task_id, []).append(row)
    return grouped


@dataclass(frozen=True, slots=True)
class RemoteCopy:
    """What is here of a task of the server: counts of its annotations, and the newest change of one."""

    annotations: int
    skipped: int
    updated_at: datetime


def load_remote_copies(group: AnnotatorGroup) -> dict[int, RemoteCopy]:
    """{task of the server: its copy}, of all tasks of the group that were marked. One query."""
    rows = group.annotations.filter(is_deleted=False).order_by().values_list("remote_task")
    skipped = Count("pk", filter=Q(is_skipped=True))
    counted = rows.annotate(count=Count("pk"), skipped=skipped, newest=Max("updated_at"))
    return {task: RemoteCopy(count - skips, skips, newest) for task, count, skips, newest in counted.iterator()}


def count_annotations(group: AnnotatorGroup) -> tuple[int, int]:
    """(annotations that are no skips, skips) of the group."""
    counted = group.annotations.filter(is_deleted=False).aggregate(
        count=Count("pk"), skipped=Count("pk", filter=Q(is_skipped=True))
    )
    return counted["count"] - counted["skipped"], counted["skipped"]


def has_due_work(actor: Actor) -> bool:
    """Whether a connection is to be checked or a labelling project to be driven. Two small queries."""
    policy.require(actor, "labelling.drive")
    now = get_database_now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)  # else a driver elsewhere is at it
    return (
        LabellingProject.objects.filter(free, next_at__lte=now).exists()
        or LabelServer.objects.filter(next_check_at__lte=now).exists()
    )


def find_group_by_hook(key: str) -> AnnotatorGroup | None:
    """The group whose webhook has this key in its address, with its connection."""
    rows = AnnotatorGroup.objects.select_related("labelling__server", "labelling__project")
    return rows.filter(hook_key=key).first()
