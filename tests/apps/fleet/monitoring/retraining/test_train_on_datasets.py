"""A plan that names a dataset, for models of what answers do not carry; and a refused retraining begun by hand."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.urls import reverse

from apps.core.errors import Conflict, Invalid, Refused
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.fleet.monitoring.models import Retraining, RetrainingPlan
from apps.fleet.monitoring.retraining.dataset_recipe import find_dataset_recipe
from apps.fleet.monitoring.services import retry_retraining, set_retraining_plan
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.registry.services.evaluations import set_gate
from apps.platform.approvals.models import Approval
from apps.platform.jobs.models import Job
from tests.apps.fleet.monitoring.conftest import LATER, NOON

pytestmark = pytest.mark.django_db
TEXTS = {"labels": ["person"], "format": "jsonl"}


@pytest.fixture
def trained_by(former, dataset_version):
    """trained_by(kind, spec, slot): as if that kind of job had trained the version in use."""

    def change(kind, spec, slot=""):
        pipeline = Pipeline.objects.get()
        document = json.loads(pipeline.document)
        digest = dataset_version.files.get().artifact_id
        inputs = {slot: {"digest": digest}} if slot else {}
        document["steps"][0] = {"name": "train", "kind": kind, "spec": spec, "inputs": inputs}
        Pipeline.objects.update(document=json.dumps(document))
        return former

    return change


@pytest.fixture
def newer(dataset_version, held):
    """newer(path=...) -> the next version of the same dataset."""

    def make(path="table.parquet"):
        facts = {"digest": "d" * 64, "manifest": "{}", "media_type": "x/y", "size": 9, "created_by": "x"}
        made = DatasetVersion.objects.create(dataset=dataset_version.dataset, number=2, **facts)
        DatasetFile.objects.create(version=made, path=path, artifact=held(b"newer"), media_type="x/y")
        return made

    return make


def test_what_answers_do_not_carry_takes_a_dataset(trained_by, monitor, actor_for, engineer):
    kinds = {
        "train_entities": (TEXTS, "texts"),
        "train_language": ({}, "texts"),
        "train_image": ({"images": "later:v1"},),
    }
    actor = actor_for(engineer)
    for kind, facts in kinds.items():
        trained_by(kind, *facts)
        with pytest.raises(Invalid) as refusal:
            set_retraining_plan(actor=actor, monitor=monitor)
        assert (kind, refusal.value.code, refusal.value.field) == (kind, "no_recipe", "dataset")
        plan = set_retraining_plan(actor=actor, monitor=monitor, dataset="later")
        assert plan.dataset.name == "later"
        RetrainingPlan.objects.all().delete()
    with pytest.raises(Invalid) as refusal:
        set_retraining_plan(actor=actor, monitor=monitor, dataset="nothing")
    assert refusal.value.field == "dataset"
    trained_by("train_image", {"images": "gone:v1"})
    with pytest.raises(Invalid):
        set_retraining_plan(actor=actor, monitor=monitor, dataset="later")


def test_the_newer_version_stands_in_the_same_pipeline(trained_by, newer):
    data = newer("other/table.parquet")
    for reference in ("later:v1", "later:1"):  # a spec takes both
        recipe = find_dataset_recipe(trained_by("train_image", {"images": reference}))
        assert recipe.build_body(data)["steps"][0]["spec"] == {"images": "later:v2"}
    recipe = find_dataset_recipe(trained_by("train_entities", TEXTS, "texts"))
    inputs = recipe.build_body(data)["steps"][0]["inputs"]
    assert inputs == {"texts": {"digest": data.files.get().artifact_id}}
    data.files.update(path="table.csv")
    with pytest.raises(Invalid):
        recipe.build_body(data)


def test_an_alarm_waits_for_the_dataset_and_trains_on_it(
    trained_by, newer, monitor, actor_for, engineer, approver, err, evaluate, step, finish, a_set, former
):
    trained_by("train_entities", TEXTS, "texts")
    set_retraining_plan(actor=actor_for(engineer), monitor=monitor, dataset="later")
    set_gate(actor=actor_for(approver), model=former.model, on=a_set("golden"), margin=0.5)
    err(NOON - timedelta(hours=1))
    evaluate()
    assert step().state == "queued"
    data = newer()
    found = step(later=6)
    assert (found.state, found.data, found.data_job) == ("training", data, None)
    train = PipelineStep.objects.get(pipeline=found.pipeline, name="train").job
    assert (train.kind, train.inputs.get().artifact_id) == ("train_entities", data.files.get().artifact_id)
    finish(found)
    finish(step())
    for _ in range(3):
        found = step()
    assert found.state == "awaiting_approval", found.state_reason
    facts = json.loads(Approval.objects.get(pk=found.approval_id).facts)["evidence"]["retraining"]
    assert (facts["data"]["version"], facts["data"]["held_back"]) == (2, None)
    assert {name: row["kind"] for name, row in facts["sets"].items()} == {"golden-r1": "golden"}


def test_a_dataset_that_stays_as_it_was_ends_it(
    trained_by, monitor, actor_for, engineer, err, evaluate, step, browser, project
):
    trained_by("train_entities", TEXTS, "texts")
    set_retraining_plan(actor=actor_for(engineer), monitor=monitor, dataset="later", wait_hours=1)
    err(NOON - timedelta(hours=1))
    evaluate()
    found = step(later=70)
    assert (found.state, "no version newer than" in found.state_reason["message"]) == ("failed", True)
    assert not Job.objects.filter(kind="train_entities").exists()
    page = browser(engineer).get(reverse("monitoring:alarm", args=[project.slug, found.alarm_id])).text
    assert "the newest version of later" in page


def test_one_that_the_budget_refused_is_begun_by_hand_once(retraining, at, actor_for, engineer, approver, api, step):
    url = f"/api/v1/projects/demo/retrainings/{retraining.pk}/retry"
    actor = actor_for(engineer)
    with pytest.raises(Conflict) as refusal:
        retry_retraining(actor=actor, retraining=retraining)
    assert refusal.value.code == "retraining_state"
    reason = {"message": "1 retrainings began", "msgid": "", "params": {}}
    Retraining.objects.update(state="refused", state_reason=reason, next_at=None)
    with pytest.raises(Refused):
        retry_retraining(actor=actor_for(approver), retraining=retraining)
    at(NOON + LATER)
    answer = api(engineer).post(url)
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (200, "queued", "")
    assert api(engineer).post(url).status_code == 409
    assert step().state == "collecting"


def test_none_is_begun_while_one_of_the_model_has_not_ended(retraining, alarm, actor_for, engineer):
    Retraining.objects.update(state="refused", next_at=None)
    alarm.pk, alarm.state = None, "closed"
    alarm.save()
    names = ("project", "monitor", "model", "former", "settings", "grant", "since", "deadline_at", "created_at")
    Retraining.objects.create(alarm=alarm, next_at=NOON, **{name: getattr(retraining, name) for name in names})
    with pytest.raises(Conflict) as refusal:
        retry_retraining(actor=actor_for(engineer), retraining=retraining)
    assert refusal.value.code == "retraining_active"


def test_the_button(browser, engineer, approver, retraining, project, alarm):
    Retraining.objects.update(state="refused", next_at=None)
    page = reverse("monitoring:alarm", args=[project.slug, alarm.pk])
    button = reverse("monitoring:retry_retraining", args=[project.slug, retraining.pk])
    assert button not in browser(approver).get(page).text
    visitor = browser(engineer)
    assert button in visitor.get(page).text
    assert visitor.post(button).url == page
    assert 'data-retraining="queued"' in visitor.get(page).text
