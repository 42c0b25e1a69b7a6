"""What people do with labelling projects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import get_version, list_files
from apps.data.datasets.versions.registration import check_name
from apps.ml.labelling.models import AnnotatorGroup, LabellingProject, LabelSchemaVersion
from apps.ml.labelling.notices import replace_notices
from apps.ml.labelling.queries import get_labelling, get_schema_version, get_server
from apps.ml.labelling.states import NEXT_LEVELS, LabellingState, TaskOrder
from apps.ml.labelling.tokens import generate_hook_key
from apps.ml.labelling.validation import check_slug
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.queries import get_version as get_model_version
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, record
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_, Message

MAX_GROUPS = 5
TEXT_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
LEVELS_BEFORE = {after: before for before, after in NEXT_LEVELS.items()}
FULL_SYNC = timedelta(minutes=10)  # between comparisons of everything that is there with what is here


def create_labelling(
    *,
    actor: Actor,
    project: Project,
    name: str,
    server: str,
    schema: str,
    source: str = "",
    source_file: str = "",
    text_column: str = "",
    parent: str = "",
    prelabels: str = "",
    order: str = TaskOrder.SOURCE,
    groups: Sequence[str] = ("annotators",),
    overlap: float = 0.0,
    bar: float = 0.0,
) -> LabellingProject:
    """Queue a labelling project: its tasks are read from the source and imported within minutes.

    `schema`: NAME:vN; `source`: NAME:vN of a dataset, or `parent`: the labelling project of the level before;
    `prelabels`: MODEL:vN, which pre-labels the tasks. Raises Invalid for a field, NotFound for what is not there,
    Conflict `name_taken` or `level_open`.
    """
    require(actor, "labelling.create", project)
    check_slug("name", name)
    names = check_groups(groups)
    check_share("overlap", overlap)
    check_share("bar", bar)
    if order not in TaskOrder.values:
        raise Invalid(
            "There is no order {order!r}.", order=order[:40], field="order", limit=", ".join(TaskOrder.values)
        )
    chosen_server = get_server(actor, project, server)
    version = get_schema_version(actor, project, *split_reference("schema", schema))
    before = get_labelling_by_name(actor, project, parent) if parent else None
    check_level(version, before)
    if before is not None:
        dataset_version, source_file = before.source, before.source_file
    else:
        dataset_version = get_version(actor, project, *split_reference("source", source))
        source_file = choose_source_file(actor, dataset_version, version, source_file)
    model = get_model_version(actor, project, *split_reference("prelabels", prelabels)) if prelabels else None
    check_prelabels(version, before, model, order)
    if bar and (len(names) < 2 or not overlap):
        raise Invalid(
            "Agreement of {bar} needs two groups that mark some tasks both.",
            bar=bar,
            field="bar",
            limit=N_("two groups and an overlap above 0"),
            hint=N_("Add a group and an overlap, or set the bar to 0."),
        )
    now = get_database_now()
    try:
        with transaction.atomic():
            labelling = LabellingProject.objects.create(
                project=project,
                name=name,
                server=chosen_server,
                schema=version,
                source=dataset_version,
                source_file=source_file,
                text_column=text_column[:120],
                parent=before,
                prelabel_version=model,
                order=order,
                overlap=overlap,
                bar=bar,
                next_at=now,
                full_sync_at=now + FULL_SYNC,
                created_by=actor.label[:200],
            )
            AnnotatorGroup.objects.bulk_create(
                AnnotatorGroup(labelling=labelling, number=place, name=text, hook_key=generate_hook_key())
                for place, text in enumerate(names, 1)
            )
            record(
                actor=actor,
                action="labelling.create",
                obj=labelling,
                after={
                    "name": name,
                    "schema": str(version),
                    "source": str(dataset_version),
                    "groups": names,
                    "overlap": overlap,
                    "bar": bar,
                    "prelabels": str(model) if model else "",
                    "parent": before.name if before else "",
                },
                digests={"schema": version.digest, "source": dataset_version.digest},
            )
    except IntegrityError:
        raise Conflict(
            "There is a labelling project {name!r} already.",
            name=name,
            code="name_taken",
            field="name",
            hint=N_("Choose another name."),
        ) from None
    return labelling


def synchronize_labelling(*, actor: Actor, labelling: LabellingProject) -> LabellingProject:
    """Read every task from the server as soon as possible, instead of waiting for the next reconciliation."""
    require(actor, "labelling.synchronize", labelling)
    require_open(labelling)
    now = get_database_now()
    with transaction.atomic():
        LabellingProject.objects.filter(pk=labelling.pk).update(next_at=now, full_sync_at=None)
        record(actor=actor, action="labelling.synchronize", obj=labelling)
    labelling.refresh_from_db()
    return labelling


def close_labelling(*, actor: Actor, labelling: LabellingProject, reason: str = "") -> LabellingProject:
    """End it: nothing is imported or synchronized any more. What was marked stays, here and there."""
    require(actor, "labelling.close", labelling)
    with transaction.atomic():
        closed = change_state(
            labelling, LabellingState.CLOSED, actor=actor, reason=reason[:500], next_at=None, publish_request={}
        )
        closed.refresh_from_db(fields=["notified"])
        LabellingProject.objects.filter(pk=closed.pk).update(notified=replace_notices(closed, get_database_now()))
    return closed


def set_bar(*, actor: Actor, labelling: LabellingProject, bar: float) -> LabellingProject:
    """Change the agreement that a result needs: by an approver, who does not label."""
    require(actor, "labelling.set_bar", labelling)
    check_share("bar", bar)
    with transaction.atomic():
        LabellingProject.objects.filter(pk=labelling.pk).update(bar=bar)
        record(
            actor=actor, action="labelling.set_bar", obj=labelling, before={"bar": labelling.bar}, after={"bar": bar}
        )
    labelling.refresh_from_db()
    return labelling


def request_result(*, actor: Actor, labelling: LabellingProject, dataset: str) -> LabellingProject:
    """Make a dataset version of what is agreed, within seconds.

    Raises Conflict `agreement_below_bar` or `nothing_agreed`.
    """
    require(actor, "labelling.publish", labelling)
    require(actor, "dataset.add_version", labelling.project)
    check_name(dataset)
    require_open(labelling)
    require_agreement(labelling)
    with transaction.atomic():
        request = {"dataset": dataset, "requester": actor.label[:200]}
        LabellingProject.objects.filter(pk=labelling.pk).update(publish_request=request, next_at=get_database_now())
        record(actor=actor, action="labelling.publish", obj=labelling, after={"dataset": dataset})
    labelling.refresh_from_db()
    return labelling


def require_agreement(labelling: LabellingProject) -> None:
    """Raise Conflict while the agreement is below the bar, is not measured, or nothing is agreed."""
    counts = labelling.progress.get("tasks", {})
    if not (counts.get("agreed", 0) + counts.get("adjudicated", 0)):
        raise Conflict(
            "Nothing is agreed yet.",
            code="nothing_agreed",
            field="state",
            hint=N_("Label tasks, or decide what is disputed."),
        )
    if not labelling.bar:
        return
    value = labelling.agreement_value
    if value is None or value < labelling.bar:
        raise Conflict(
            (
                Message("The agreement is {value:.3f}, and the bar is {bar}.", value=value, bar=labelling.bar)
                if value is not None
                else Message("No task was marked by two groups yet, and the bar is {bar}.", bar=labelling.bar)
            ),
            code="agreement_below_bar",
            field="bar",
            limit=labelling.bar,
            hint=N_(
                "Make the instructions clearer and have disputed tasks marked again, or have an approver lower the bar."
            ),
        )


def require_open(labelling: LabellingProject) -> None:
    if labelling.state in (LabellingState.CLOSED, LabellingState.FAILED):
        raise Conflict(
            "The labelling project {name!r} has ended.",
            name=labelling.name,
            code="labelling_ended",
            field="state",
            hint=N_("Create another one."),
        )


# -- what a new one may be ------------------------------------------------------------------------------------------
def check_groups(groups: Sequence[str]) -> list[str]:
    names = [" ".join(name.split())[:60] for name in groups if name.strip()]
    if not 1 <= len(names) <= MAX_GROUPS or len(set(names)) < len(names):
        raise Invalid(
            "A labelling project has 1 to {most} groups with different names.",
            most=MAX_GROUPS,
            field="groups",
            limit=MAX_GROUPS,
        )
    return names


def check_share(field: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise Invalid("{value} is no share.", value=value, field=field, limit="0 to 1")


def split_reference(field: str, text: str) -> tuple[str, str]:
    name, _, number = text.strip().partition(":")
    number = number.removeprefix("v")
    if not name or not number.isdecimal():
        raise Invalid("{text!r} names no version.", text=text[:80], field=field, limit="NAME:vN")
    return name, number


def get_labelling_by_name(actor: Actor, project: Project, name: str) -> LabellingProject:
    row = LabellingProject.objects.visible_to(actor).filter(project=project, name=name).first()
    return get_labelling(actor, project, row.pk if row else 0)


def check_level(version: LabelSchemaVersion, before: LabellingProject | None) -> None:
    level_before = LEVELS_BEFORE.get(version.level)
    if before is None:
        return
    if level_before is None or before.schema.level not in (level_before, version.level):
        raise Invalid(
            "The level {level} does not follow on {before}.",
            level=version.level,
            before=before.schema.level,
            field="parent",
            limit="basic, semantic, domain",
        )
    labels = {row["value"] for row in version.document["labels"]}
    missing = [row["value"] for row in before.schema.document["labels"] if row["value"] not in labels]
    if missing or version.document["data"] != before.schema.document["data"]:
        raise Invalid(
            "The schema has no label {label!r}, which the level before has marked.",
            label=missing[0] if missing else version.document["data"],
            field="schema",
            hint=N_("Add it to the schema: the next level goes on from these marks."),
        )
    counts = before.progress.get("tasks", {})
    if not (counts.get("agreed", 0) + counts.get("adjudicated", 0)):
        raise Conflict(
            "Nothing of the level before is agreed yet.",
            code="level_open",
            field="parent",
            hint=N_("The next level begins from what is agreed."),
        )


def choose_source_file(actor: Actor, source: DatasetVersion, version: LabelSchemaVersion, path: str) -> str:
    """The path of the file with the tasks; empty for images, each of which is a task."""
    files = [file.path for file in list_files(actor, source)]
    if version.document["data"] == "image":
        return ""
    readable = [name for name in files if name.lower().endswith(TEXT_SUFFIXES)]
    if path and path in files:
        return path
    if path or len(readable) != 1:
        raise Invalid(
            "{source} has {count} files that can be read.",
            source=source,
            count=len(readable),
            field="source_file",
            limit=", ".join(readable[:20]) or ", ".join(TEXT_SUFFIXES),
            hint=N_("Name one of them."),
        )
    return readable[0]


def check_prelabels(
    version: LabelSchemaVersion, before: LabellingProject | None, model: ModelVersion | None, order: str
) -> None:
    if order == TaskOrder.UNCERTAINTY and model is None:
        raise Invalid("Only a model knows what is uncertain.", field="order", hint=N_("Name a model for pre-labels."))
    if model is None:
        return
    if before is not None or version.document["data"] != "text" or model.task != "entities":
        raise Invalid(
            "{model} cannot pre-label these tasks.",
            model=model,
            field="prelabels",
            limit=N_("a model of entities, for texts at the first level"),
        )
