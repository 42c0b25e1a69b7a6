"""Three levels of labelling real texts on a real Label Studio, down to a model that pre-labels the next project."""

from __future__ import annotations

import pytest

from apps.ml.labelling import services
from apps.ml.registry.models import ModelVersion
from apps.platform.jobs.models import Job
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.models import Edge
from tests.credited_texts import CreditedText, read_texts
from tests.workers.labelling.studio import skip_without_studio
from workers import tasks

pytest.importorskip("label_studio_sdk")
skip_without_studio()
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("label studio")]

TEMPLATE = (
    '<View><Text name="text" value="$text"/><Labels name="labels" toName="text">'
    '<Label value="PERSON" background="#FFA500"/><Label value="ORG" background="#00BFFF"/></Labels></View>'
)
LABELS = [{"value": "PERSON", "background": "#FFA500"}, {"value": "ORG", "background": "#00BFFF"}]
RELATIONS = [{"value": "works_for", "sources": ["PERSON"], "targets": ["ORG"]}]
SEMANTIC = {"level": "semantic", "data": "text", "labels": LABELS, "relations": RELATIONS}
RULES = [{"name": "employer", "condition": 'if certain = "yes" then every PERSON has works_for'}]
FIELDS = [{"name": "certain", "choices": ["yes", "no"], "required": True}]
DOMAIN = {**SEMANTIC, "level": "domain", "fields": FIELDS, "rules": RULES}
TEXTS = read_texts(english=12, chinese=4)
BY_TEXT = {row.text: row for row in TEXTS}


def build_span(text: str, words: str, label: str) -> dict:
    start = text.index(words)
    value = {"start": start, "end": start + len(words), "text": words, "labels": [label]}
    return {"id": label, "from_name": "labels", "to_name": "text", "type": "labels", "value": value}


def build_marks(row: CreditedText, *, relation: bool = False, certain: str = "") -> list[dict]:
    named = (("PERSON", row.person), ("ORG", row.organization))
    marks = [build_span(row.text, words, label) for label, words in named if words]
    if relation and len(marks) == 2:
        ends = {"from_id": "PERSON", "to_id": "ORG", "direction": "right"}
        marks.append({"type": "relation", **ends, "labels": ["works_for"]})
    if certain:
        choice = {"id": "c", "from_name": "certain", "to_name": "text", "type": "choices"}
        marks.append({**choice, "value": {"choices": [certain if len(marks) == 3 else "no"]}})
    return marks


def mark_all(client, labelling, **options) -> None:
    for group in labelling.groups.all():
        for row in group.remote_tasks.select_related("task"):
            result = build_marks(BY_TEXT[row.task.data["text"]], **options)
            client.annotations.create(id=row.remote_id, result=result, lead_time=2.0)


def read_predictions(client, labelling) -> dict[str, list[dict]]:
    """{text: what annotators begin from}, in their order, each region by its place."""
    rows = client.tasks.list(project=labelling.groups.get().remote_project, fields="all")
    values = {row.data["text"]: [mark["value"] for mark in row.predictions[0].result] for row in rows}
    return {text: sorted(marks, key=lambda value: value["labels"], reverse=True) for text, marks in values.items()}


def test_three_levels_end_in_a_model_that_labels_before_people_do(
    client, drive, worker, create, project, actor, add_texts, submit
):
    add_texts("texts", [row.text for row in TEXTS])
    basic = create("basic", TEMPLATE, source="texts:v1", groups=["one", "two"], overlap=0.5, bar=0.8)
    mark_all(client, basic)
    drive()
    basic.refresh_from_db()
    assert (basic.progress["tasks"], basic.failure) == ({"agreed": len(TEXTS)}, {})
    assert basic.agreement_value == 1.0

    semantic = create("semantic", SEMANTIC, parent="basic")
    assert read_predictions(client, semantic) == {
        row.text: [mark["value"] for mark in build_marks(row)] for row in TEXTS
    }
    mark_all(client, semantic, relation=True)
    drive()
    semantic.refresh_from_db()
    assert semantic.progress["tasks"] == {"agreed": len(TEXTS)}

    domain = create("domain", DOMAIN, parent="semantic")
    first = domain.groups.get().remote_tasks.order_by("number").first()
    broken = build_marks(BY_TEXT[first.task.data["text"]])
    choice = {"id": "c", "from_name": "certain", "to_name": "text", "type": "choices", "value": {"choices": ["yes"]}}
    client.annotations.create(id=first.remote_id, result=[*broken, choice], lead_time=1.0)
    drive()
    assert domain.tasks.get(number=0).state == "returned"
    mark_all(client, domain, relation=True, certain="yes")
    drive()
    domain.refresh_from_db()
    assert (domain.progress["tasks"], domain.failure) == ({"agreed": len(TEXTS)}, {})

    # A task is deleted there: it comes back with its marks, under ids that the server gives again.
    client.tasks.delete(id=str(domain.groups.get().remote_tasks.order_by("number").last().remote_id))
    drive()
    drive()
    domain.refresh_from_db()
    assert (domain.progress["tasks"], domain.failure) == ({"agreed": len(TEXTS)}, {})

    services.request_result(actor=actor, labelling=domain, dataset="people")
    drive()
    domain.refresh_from_db()
    assert domain.result is not None, domain.failure
    assert domain.result.params["schema"]["level"] == "domain"
    job = services.train_on_result(actor=actor, labelling=domain)
    tasks.run_next("cpu")
    job = Job.objects.get(pk=job.pk)
    assert job.state == "succeeded", job.error
    edge = Edge.objects.get(source_type="dataset_version", target_type="job", target_id=str(job.pk))
    assert (edge.source_id, edge.source_label) == (str(domain.result_id), "people v1")

    made = {output.slot: output.artifact_id for output in job.outputs.all()}
    forms = {"fp32": made["model"], "fp32_manifest": made["manifest"], "fp32_figures": made["figures"]}
    inputs = [InputSpec(slot=slot, digest=digest) for slot, digest in forms.items()]
    submit(kind="register", spec={}, inputs=inputs, register={"model": "names"})
    tasks.run_next("cpu")
    assert ModelVersion.objects.get().number == 1
    next_project = create("next", TEMPLATE, source="texts:v1", prelabels="names:v1", order="uncertainty")
    assert next_project.state == "labelling", next_project.failure
    uncertain = list(next_project.tasks.order_by("number").values_list("uncertainty", flat=True))
    assert uncertain == sorted(uncertain, reverse=True)
    there = read_predictions(client, next_project)
    assert list(there) == [row.data["text"] for row in next_project.tasks.order_by("number")]
    assert [len(marks) for marks in there.values()] == [
        len(row.prelabel.get("spans", [])) for row in next_project.tasks.order_by("number")
    ]
