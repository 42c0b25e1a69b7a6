import json

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.services import rerun_from
from apps.platform.jobs.models import Job
from tests.apps.ml.pipelines.conftest import DIAMOND, step

pytestmark = pytest.mark.django_db


@pytest.fixture
def again(actor_for, engineer):
    actor = actor_for(engineer)
    return lambda pipeline, name, who=None, **more: rerun_from(
        actor=who or actor, pipeline=pipeline, step=name, **more
    )[0]


@pytest.fixture
def done(start, work):
    pipeline = start(DIAMOND, name="try")
    work(4)
    return pipeline


def test_runs_the_step_and_all_below_it_on_what_the_others_made(done, again, states, job):
    new = again(done, "b")
    assert (new.rerun_of, new.rerun_from, new.name) == (done, "b", "try")
    assert states(new) == {"b": "queued", "d": "waiting"}
    assert job(new, "b").inputs.get().artifact_id == f"{job(done, 'a').pk:064x}"
    slots = {i.slot: i.source_job for i in job(new, "d").inputs.all()}
    assert slots == {"from-b": job(new, "b"), "from-c": job(done, "c")}


def test_a_run_again_can_be_run_again(done, again, work, states):
    new = again(done, "b")
    work(2)
    assert states(again(new, "d")) == {"d": "queued"}


def test_fields_of_a_spec_may_differ(done, again, job):
    new = again(done, "b", changes={"d": {"steps": 7}})
    assert json.loads(job(new, "d").spec)["steps"] == 7
    assert json.loads(job(new, "b").spec)["steps"] == 1


def test_an_object_in_a_spec_keeps_what_is_not_named(start, again, artifact, claim, job):
    spec = {"outliers": {"method": "iqr", "action": "cap"}, "window_size": 9}
    pipeline = start([step("a", kind="clean", spec=spec, inputs={"table": {"digest": artifact.pk}})])
    new = again(pipeline, "a", changes={"a": {"outliers": {"action": "blank"}}})
    made = json.loads(job(new, "a").spec)
    assert (made["outliers"]["method"], made["outliers"]["action"], made["window_size"]) == ("iqr", "blank", 9)


def test_names_what_is_needed_and_has_not_succeeded(start, work, again):
    pipeline = start(DIAMOND)
    work(2)
    with pytest.raises(Conflict) as caught:
        again(pipeline, "b")
    assert (caught.value.code, caught.value.limit) == ("step_not_succeeded", "c")
    assert Pipeline.objects.count() == 1


def test_a_step_that_is_not_needed_may_have_failed(start, work, again, claim, fail, states):
    pipeline = start([step("a"), step("b", "a"), step("c", "a")])
    work(1)
    fail(claim())
    assert states(pipeline)["b"] == "failed"
    assert states(again(pipeline, "c")) == {"c": "queued"}


def test_an_invalid_rerun_names_its_field(done, again):
    for name, changes, field, code in (
        ("z", {}, "/from", "step_unknown"),
        ("b", {"z": {}}, "/changes/z", "step_unknown"),
        ("b", {"a": {"steps": 2}}, "/changes/a", "step_unknown"),
        ("b", {"d": {"steps": 0}}, "/changes/d/steps", "spec_greater_than_equal"),
        ("b", {"b": {"colour": 1}}, "/changes/b/colour", "spec_extra_forbidden"),
    ):
        with pytest.raises(Invalid) as caught:
            again(done, name, changes=changes)
        assert (caught.value.field, caught.value.code) == (field, code)
    assert Job.objects.count() == 4


def test_the_same_key_runs_it_again_once(done, again):
    assert again(done, "b", idempotency_key="k") == again(done, "b", idempotency_key="k")
    with pytest.raises(Conflict):
        again(done, "d", idempotency_key="k")


def test_a_rerun_requires_an_engineer_of_the_project(actor_for, done, again, viewer, approver, stranger):
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            again(done, "b", who=actor_for(user))
    assert Pipeline.objects.count() == 1
