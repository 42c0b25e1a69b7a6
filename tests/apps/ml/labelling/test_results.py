"""Adjudication, gold, results and trainings on them; the levels; rules that send tasks back."""

from __future__ import annotations

from functools import partial

import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.ml.labelling import services
from apps.ml.labelling.models import RemoteTask
from apps.ml.labelling.presenters import list_annotator_rows
from apps.platform.jobs.models import Job
from apps.platform.lineage.models import Edge
from tests.apps.ml.labelling.conftest import span

pytest.importorskip("label_studio_sdk")
pytestmark = pytest.mark.django_db
LABELS = [{"value": "PERSON", "background": "#FFA500"}, {"value": "ORG", "background": "#00BFFF"}]
RELATIONS = [{"value": "works_for", "sources": ["PERSON"], "targets": ["ORG"]}]
NOTHING: dict = {}


@pytest.mark.services
def test_a_disputed_task_is_decided_once_and_for_all(agreed, actor, mark, drive):
    task = agreed.tasks.get(state="disputed")
    with pytest.raises(Invalid):
        services.adjudicate_task(actor=actor, task=task, marks={"spans": [{"start": 0, "end": 99, "label": "ORG"}]})
    marks = {"spans": [{"start": 0, "end": 6, "label": "ORG"}]}
    assert services.adjudicate_task(actor=actor, task=task, marks=marks).marks == marks
    mark(agreed, 1, task.number, [span(1, 2)])
    drive()
    task.refresh_from_db()
    assert (task.state, task.marks, task.decided_by) == ("adjudicated", marks, "engineer")
    assert services.reopen_task(actor=actor, task=task).state == "disputed"
    with pytest.raises(Conflict):
        services.reopen_task(actor=actor, task=task)


def test_a_decision_that_meets_the_closing_leaves_it_closed(agreed, actor):
    task = agreed.tasks.select_related("labelling").get(state="disputed")  # read while it is open
    services.close_labelling(actor=actor, labelling=agreed)
    for write in (services.reopen_task, partial(services.adjudicate_task, marks=NOTHING)):
        with pytest.raises(Conflict) as refusal:
            write(actor=actor, task=task)
        assert refusal.value.code == "labelling_ended"
    agreed.refresh_from_db()
    assert (agreed.state, agreed.next_at) == ("closed", None)


def test_who_may_only_look_decides_nothing(agreed, viewer, actor_for, actor):
    task = agreed.tasks.get(state="disputed")
    looking = actor_for(viewer)
    for write in (
        lambda: services.adjudicate_task(actor=looking, task=task, marks=NOTHING),
        lambda: services.set_gold(actor=looking, task=task, marks=NOTHING),
        lambda: services.request_result(actor=looking, labelling=agreed, dataset="x"),
        lambda: services.close_labelling(actor=looking, labelling=agreed),
        lambda: services.set_bar(actor=actor, labelling=agreed, bar=0.0),  # an engineer
    ):
        with pytest.raises(Refused):
            write()


def test_gold_measures_annotators(agreed, actor, drive):
    task = agreed.tasks.get(state="disputed")
    services.set_gold(actor=actor, task=task, marks={"spans": [{"start": 0, "end": 6, "label": "PERSON"}]})
    drive()
    agreed.refresh_from_db()
    assert {row["annotator"]: row["f1"] for row in agreed.agreement["gold"]} == {"A1": 0.0, "A2": 1.0}


@pytest.mark.services
def test_the_result_is_a_version_with_lineage_that_trains(agreed, actor, drive, texts):
    texts.dataset.security_label = 2
    texts.dataset.save(update_fields=["security_label"])
    services.request_result(actor=actor, labelling=agreed, dataset="people")
    drive()
    texts.dataset.security_label = 0
    texts.dataset.save(update_fields=["security_label"])
    agreed.refresh_from_db()
    version = agreed.result
    assert version.dataset.security_label == 2  # the texts went along
    version.dataset.security_label = 0
    version.dataset.save(update_fields=["security_label"])
    assert sorted(version.files.values_list("path", flat=True)) == ["annotations.parquet", "texts.jsonl"]
    assert version.rows == 3
    assert version.params["schema"]["digest"] == agreed.schema.digest
    assert version.params["annotators"] == ["A1", "A2"]
    edges = Edge.objects.filter(target_type="dataset_version", target_id=str(version.pk)).order_by("pk")
    assert list(edges.values_list("source_type", "source_id", "source_label", "role")) == [
        ("dataset_version", str(texts.pk), "texts v1", "labelled basic"),
        ("label_schema", str(agreed.schema_id), "names v1", "schema"),
        *(("annotator", str(one.pk), f"people {one.pseudonym}", "marks") for one in agreed.annotators.order_by("pk")),
    ]
    job = services.train_on_result(actor=actor, labelling=agreed)
    assert (job.kind, Job.objects.get(pk=job.pk).inputs.get().slot) == ("train_entities", "texts")
    services.request_result(actor=actor, labelling=agreed, dataset="people")
    drive()
    agreed.refresh_from_db()
    assert agreed.result == version


def test_one_person_in_two_groups_has_figures_for_each(labelling, studio, drive):
    for group in labelling.groups.all():
        studio.annotate(group.remote_tasks.get(number=0).remote_id, [span(0, 3)], user=1)
    drive()
    labelling.refresh_from_db()
    assert [(row["annotator"], row["f1"]) for row in list_annotator_rows(labelling)] == [("A1", "1.000")] * 2


def test_below_the_bar_there_is_no_result(agreed, actor, approver, actor_for):
    services.set_bar(actor=actor_for(approver), labelling=agreed, bar=0.99)
    agreed.refresh_from_db()
    with pytest.raises(Conflict) as refusal:
        services.request_result(actor=actor, labelling=agreed, dataset="people")
    assert refusal.value.code == "agreement_below_bar"
    with pytest.raises(Conflict, match="no result"):
        services.train_on_result(actor=actor, labelling=agreed)


def test_the_next_level_begins_from_what_is_agreed(agreed, actor, project, create, drive, studio):
    document = {"level": "semantic", "data": "text", "labels": LABELS, "relations": RELATIONS}
    services.save_schema(actor=actor, project=project, name="works", document=document)
    second = create(name="works", schema="works:v1", parent="people")
    drive()
    assert second.tasks.count() == 3  # the disputed one waits
    task = second.tasks.get(row=0)
    assert task.prelabel == agreed.tasks.get(row=0).marks
    there = studio.tasks[RemoteTask.objects.get(task=task).remote_id]
    assert [row["value"]["text"] for row in there["predictions"][0]["result"]] == ["Ada", "ACME"]


@pytest.mark.services
def test_what_violates_a_rule_goes_back_as_a_task(create, actor, project, drive, studio):
    rule = {"name": "employer", "condition": "if count(PERSON) > 0 then every PERSON has works_for"}
    document = {"level": "domain", "data": "text", "labels": LABELS, "relations": RELATIONS, "rules": [rule]}
    services.save_schema(actor=actor, project=project, name="rules", document=document)
    labelling = create(name="rules", schema="rules:v1")
    drive()
    row = RemoteTask.objects.get(task__number=0)
    first = row.remote_id
    studio.annotate(first, [span(0, 3), span(13, 17, "ORG")])
    drive()
    drive()
    row.refresh_from_db()
    assert row.remote_id != first
    assert studio.tasks[row.remote_id]["meta"]["violations"] == ["employer"]
    assert labelling.tasks.get(number=0).state == "returned"
    drive()
    assert RemoteTask.objects.get(pk=row.pk).remote_id == row.remote_id  # once is enough
    ends = {"type": "relation", "from_id": "0-3-PERSON", "to_id": "13-17-ORG", "labels": ["works_for"]}
    studio.annotate(row.remote_id, [span(0, 3), span(13, 17, "ORG"), ends])
    drive()
    task = labelling.tasks.get(number=0)
    assert task.state == "agreed"
    marks = {"spans": [{"start": 13, "end": 17, "label": "ORG"}]}
    services.adjudicate_task(actor=actor, task=task, marks=marks)
    studio.annotate(row.remote_id, [span(0, 3)])
    drive()
    task.refresh_from_db()
    assert services.reopen_task(actor=actor, task=task).state == "returned"  # by who may not drive
