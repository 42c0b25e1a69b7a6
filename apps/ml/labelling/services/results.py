"""What becomes of tasks in the end: adjudication, gold, the dataset version, a training on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.data.datasets.labels.inheritance import raise_label
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.versions.manifest import guess_media_type
from apps.data.datasets.versions.registration import add_version, ensure_dataset
from apps.ml.labelling.models import Annotation, LabellingProject, LabelTask
from apps.ml.labelling.queries import load_current_annotations
from apps.ml.labelling.services.projects import require_agreement, require_open
from apps.ml.labelling.services.syncing import evaluate_tasks
from apps.ml.labelling.states import FINAL_STATES, TaskState
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import store_file
from apps.platform.audit.services import record
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from apps.platform.nodes.samples import get_database_now
from deepseek.labelling.label_studio import list_violations
from deepseek.labelling.marks import Marks
from deepseek.labelling.schema import LabellingSchema
from deepseek.messages import N_

SCRIPT = "deepseek.labelling"
TEXTS_FILE, TABLE_FILE, IMAGES_FILE = "texts.jsonl", "annotations.parquet", "images.csv"
ROWS_AT_ONCE = 1000


def adjudicate_task(*, actor: Actor, task: LabelTask, marks: Mapping[str, Any], note: str = "") -> LabelTask:
    """Decide what a task is marked as, whatever annotators mark. Raises Invalid for marks that the schema refuses."""
    require(actor, "labelling.adjudicate", task)
    require_open(task.labelling)
    checked = check_marks(task, marks)
    with transaction.atomic():
        labelling = lock_labelling(task)
        locked = LabelTask.objects.get(pk=task.pk)
        before = {"state": locked.state, "marks": locked.marks}
        LabelTask.objects.filter(pk=task.pk).update(
            state=TaskState.ADJUDICATED,
            marks=checked,
            violations=[],
            decided_by=actor.label[:200],
            decided_at=timezone.now(),
        )
        move_count(labelling, locked.state, TaskState.ADJUDICATED)
        record(
            actor=actor,
            action="labelling.adjudicate",
            obj=task,
            reason=note[:500],
            before=before,
            after={"state": TaskState.ADJUDICATED, "marks": checked},
        )
    task.refresh_from_db()
    return task


def reopen_task(*, actor: Actor, task: LabelTask) -> LabelTask:
    """Take a decision back: the task is again what its annotations make it."""
    require(actor, "labelling.adjudicate", task)
    require_open(task.labelling)
    with transaction.atomic():
        labelling = lock_labelling(task)
        before = LabelTask.objects.get(pk=task.pk)
        if before.state != TaskState.ADJUDICATED:
            raise Conflict("{task} was not decided by a person.", task=task, code="not_adjudicated", field="state")
        LabelTask.objects.filter(pk=task.pk).update(state=TaskState.OPEN, decided_by="", decided_at=None)
        record(actor=actor, action="labelling.reopen_task", obj=task, before={"marks": before.marks})
        evaluate_tasks(labelling, [task.pk])
        move_count(labelling, before.state, LabelTask.objects.values_list("state", flat=True).get(pk=task.pk))
    task.refresh_from_db()
    return task


def set_gold(*, actor: Actor, task: LabelTask, marks: Mapping[str, Any] | None) -> LabelTask:
    """Say which marks of a task are known to be right, so that annotators are compared with them; None: no longer."""
    require(actor, "labelling.set_gold", task)
    require_open(task.labelling)
    checked = None if marks is None else check_marks(task, marks)
    now = get_database_now()
    with transaction.atomic():
        LabelTask.objects.filter(pk=task.pk).update(gold=checked)
        LabellingProject.objects.filter(pk=task.labelling_id).update(next_at=now, changed_at=now)
        record(actor=actor, action="labelling.set_gold", obj=task, before={"gold": task.gold}, after={"gold": checked})
    task.refresh_from_db()
    return task


def lock_labelling(task: LabelTask) -> LabellingProject:
    """The row that the driver locks before it writes states of tasks: a decision is not to meet it halfway.

    Raises Conflict where somebody has closed it meanwhile: it is not to become due again.
    """
    rows = LabellingProject.objects.select_for_update(of=("self",)).select_related("schema__schema")
    labelling = rows.get(pk=task.labelling_id)
    require_open(labelling)
    return labelling


def move_count(labelling: LabellingProject, before: str, after: str) -> None:
    """Count a task in its new state at once, and have the driver look: pages show the counts of its last round."""
    counts = dict(labelling.progress.get("tasks", {}))
    counts[before] = max(counts.get(before, 0) - 1, 0)
    counts[after] = counts.get(after, 0) + 1
    progress = {**labelling.progress, "tasks": {state: count for state, count in counts.items() if count}}
    LabellingProject.objects.filter(pk=labelling.pk).update(progress=progress, next_at=get_database_now())


def check_marks(task: LabelTask, marks: Mapping[str, Any]) -> dict[str, Any]:
    """The marks in order. Raises Invalid for what lies outside the text, the schema or its rules."""
    schema = LabellingSchema.model_validate(task.labelling.schema.document)
    text = str(task.data.get("text", ""))
    try:
        parsed = Marks.from_dict(marks)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Invalid(
            "These are no marks.",
            code="bad_marks",
            field="/marks",
            limit='{"spans": [{"start", "end", "label"}], "relations": [{"source", "target", "type"}]}',
        ) from None
    labels = {label.value for label in schema.labels}
    types = {relation.value for relation in schema.relations}
    bad = [span for span in parsed.spans if span.label not in labels or not 0 <= span.start < span.end <= len(text)]
    strange = [row for row in parsed.relations if row.type not in types]
    is_strange_class = bool(parsed.label) and parsed.label not in schema.classes
    if bad or strange or is_strange_class or not are_fields_valid(schema, parsed):
        raise Invalid("The schema does not allow these marks.", code="bad_marks", field="/marks")
    broken = list_violations(schema, parsed, text)
    if broken:
        raise Invalid("These marks violate {rules}.", rules=", ".join(broken), code="rule_violated", field="/marks")
    return parsed.to_dict()


def are_fields_valid(schema: LabellingSchema, marks: Marks) -> bool:
    """Whether every field is of the schema, and its value of the field's kind."""
    fields = {field.name: field for field in schema.fields}
    for name, value in marks.fields.items():
        field = fields.get(name)
        if field is None or isinstance(value, bool) or isinstance(value, str) == (field.kind == "number"):
            return False
        if not isinstance(value, str | int | float) or (field.choices and value not in field.choices):
            return False
    return True


# -- the dataset version --------------------------------------------------------------------------------------------
def iterate_results(labelling: LabellingProject) -> Iterator[dict[str, Any]]:
    """Each task with a result: row, data, marks, state, annotators, groups and seconds; in the order of the source."""
    last = (-1, -1)
    while True:
        rows = LabelTask.objects.filter(labelling=labelling, state__in=FINAL_STATES)
        rows = rows.filter(row__gte=last[0]).exclude(row=last[0], pk__lte=last[1]).order_by("row", "pk")
        batch = list(rows[:ROWS_AT_ONCE])
        if not batch:
            return
        current = load_current_annotations([task.pk for task in batch])
        for task in batch:
            annotations = [one for one in current.get(task.pk, []) if not one.is_skipped]
            yield {
                "row": task.row,
                "data": task.data,
                "marks": task.marks or {},
                "state": task.state,
                "annotators": sorted({one.annotator.pseudonym for one in annotations}),
                "seconds": round(sum(one.seconds for one in annotations), 2),
            }
        last = (batch[-1].row, batch[-1].pk)


def list_image_files(labelling: LabellingProject) -> dict[str, tuple[Artifact, str]]:
    """{path: (artifact, media type)} of the source's images, which the result has too."""
    files = labelling.source.files.select_related("artifact")
    return {file.path: (file.artifact, file.media_type) for file in files}


def publish_result(
    *, actor: Actor, labelling: LabellingProject, files: Mapping[str, Path], images: list[str], facts: Mapping[str, Any]
) -> DatasetVersion:
    """Register what the engine has written as a version of the dataset that was asked for, with its lineage.

    `files`: path in the version -> local file; `images`: paths of the source's images that go along; `facts`: rows,
    columns, annotators, minutes, agreement. The same result twice is one version.
    """
    require(actor, "labelling.drive")
    require_agreement(labelling)
    request = labelling.publish_request
    stored = {
        path: store_file(
            actor=actor,
            project=labelling.project,
            path=local,
            name=path,
            media_type=guess_media_type(path),
            is_scanned=True,
        )
        for path, local in files.items()
    }
    rows = [(path, artifact, guess_media_type(path)) for path, artifact in stored.items()]
    if images:
        listed = list_image_files(labelling)
        rows += [(path, *listed[path]) for path in images]
    params = {
        "labelling": {"id": labelling.pk, "name": labelling.name, "server": labelling.server.name},
        "schema": {
            "name": labelling.schema.schema.name,
            "version": labelling.schema.number,
            "digest": labelling.schema.digest,
            "level": labelling.schema.level,
        },
        "source": {"version": str(labelling.source), "digest": labelling.source.digest, "file": labelling.source_file},
        "parent": labelling.parent.name if labelling.parent else None,
        "requester": request.get("requester", ""),
        **{name: facts[name] for name in ("annotators", "minutes", "agreement", "agreement_value")},
    }
    with transaction.atomic():
        locked = LabellingProject.objects.select_for_update().get(pk=labelling.pk)
        if locked.owner != labelling.owner or locked.publish_request != request:
            raise Conflict("Another result was asked for meanwhile.", code="stale_request", field="dataset")
        require_agreement(locked)  # an approver may have raised the bar since
        version, _new = add_version(
            actor=actor,
            dataset=ensure_dataset(actor=actor, project=labelling.project, name=request["dataset"]),
            files=rows,
            media_type=guess_media_type(next(iter(files))),
            rows=facts["rows"],
            columns=facts["columns"],
            script=SCRIPT,
            params=params,
            note=f"{labelling.name}, {labelling.schema}",
        )
        raise_label(actor, version.dataset, labelling.source.dataset.security_label, labelling=labelling.name)
        edges = build_result_edges(labelling, version, facts["annotators"])
        record_edges(actor=actor, project=labelling.project, edges=edges)
        LabellingProject.objects.filter(pk=labelling.pk).update(
            publish_request={}, result=version, result_at=get_database_now()
        )
        record(
            actor=actor,
            action="labelling.register_result",
            obj=labelling,
            after={"version": str(version), "rows": facts["rows"], "requester": request.get("requester", "")},
            digests={"version": version.digest, "schema": labelling.schema.digest},
        )
    labelling.refresh_from_db(fields=["publish_request", "result", "result_at"])
    return version


def build_result_edges(
    labelling: LabellingProject, version: DatasetVersion, pseudonyms: Sequence[str]
) -> list[EdgeSpec]:
    """What went into the result: source, schema, and annotators by pseudonym."""
    source, schema = labelling.source, labelling.schema
    target = End("dataset_version", str(version.pk), version.digest, str(version))
    people = labelling.annotators.filter(pseudonym__in=pseudonyms).order_by("pk")
    return [
        EdgeSpec.between(
            End("dataset_version", str(source.pk), source.digest, str(source)), target, f"labelled {schema.level}"
        ),
        EdgeSpec.between(End("label_schema", str(schema.pk), schema.digest, str(schema)), target, "schema"),
        *(
            EdgeSpec.between(End("annotator", str(one.pk), label=f"{labelling.name} {one.pseudonym}"), target, "marks")
            for one in people
        ),
    ]


def drop_publish_request(*, actor: Actor, labelling: LabellingProject) -> None:
    """It cannot be met any more: the agreement has fallen below the bar since."""
    require(actor, "labelling.drive")
    LabellingProject.objects.filter(pk=labelling.pk, owner=labelling.owner).update(publish_request={})


def train_on_result(*, actor: Actor, labelling: LabellingProject, idempotency_key: str | None = None) -> Job:
    """Queue a training on the newest result: of entities, or of images.

    Raises Conflict `no_result` or `not_trainable`.
    """
    require(actor, "labelling.train", labelling)
    version = labelling.result
    if version is None:
        raise Conflict(
            "There is no result to train on.",
            code="no_result",
            field="result",
            hint=N_("Publish what is agreed as a dataset version first."),
        )
    document = labelling.schema.document
    name = f"{labelling.name} {version}"[:100]
    if document["data"] == "text":
        artifact = version.files.get(path=TEXTS_FILE).artifact_id
        spec: dict[str, Any] = {"labels": [row["value"] for row in document["labels"]], "format": "jsonl"}
        submission = Submission(
            kind="train_entities",
            spec=spec,
            inputs=[InputSpec(slot="texts", digest=artifact)],
            name=name,
            idempotency_key=idempotency_key,
        )
    elif document["data"] == "image":
        spec = {"images": f"{version.dataset.name}:v{version.number}"}
        submission = Submission(kind="train_image", spec=spec, name=name, idempotency_key=idempotency_key)
    else:
        raise Conflict(
            "Rows are trained on with a spec of their own.",
            code="not_trainable",
            field="schema",
            hint=N_("Create a job on the version's table."),
        )
    job, _new = submit_job(actor=actor, project=labelling.project, submission=submission)
    return job


def iterate_annotations(labelling: LabellingProject) -> Iterator[dict[str, Any]]:
    """Each task that several groups marked, or that is gold: {task, text, gold, marks: {annotator: marks}}."""
    last = -1
    while True:
        rows = LabelTask.objects.filter(labelling=labelling, pk__gt=last).order_by("pk")
        tasks = list(rows.only("pk", "data", "gold")[:ROWS_AT_ONCE])
        if not tasks:
            return
        current: dict[int, list[Annotation]] = load_current_annotations([task.pk for task in tasks])
        for task in tasks:
            standing = [one for one in current.get(task.pk, []) if not one.is_skipped and not one.unknown]
            if len(standing) > 1 or (standing and task.gold is not None):
                yield {
                    "task": task.pk,
                    "text": task.data.get("text", ""),
                    "gold": task.gold,
                    "marks": {name_annotator(one, standing): one.marks for one in standing},
                }
        last = tasks[-1].pk


def name_annotator(one: Annotation, standing: Sequence[Annotation]) -> str:
    """The pseudonym; with the group where the same person has marked the task in two of them."""
    name = one.annotator.pseudonym
    is_twice = sum(other.annotator_id == one.annotator_id for other in standing) > 1
    return f"{name}/{one.group.number}" if is_twice else name
