from __future__ import annotations

import threading

import pytest
from django.db import connection

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.pipelines import services
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.schemas import PipelineRequest, StepBody
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services as jobs
from apps.platform.jobs.models import Job
from tests.apps.ml.pipelines.conftest import CHAIN, DIAMOND, step

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def faults(start, *steps, **more) -> dict[str, str]:
    """{pointer: code} of a refusal, which must leave nothing behind."""
    with pytest.raises(Invalid) as caught:
        start(list(steps), **more)
    assert not Job.objects.exists()
    assert not Pipeline.objects.exists()
    return {error["field"]: error["code"] for error in caught.value.errors}


def test_makes_a_job_for_each_step_and_rings_once_they_are_there(
    start, states, rung, job, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        pipeline = start(DIAMOND, name="try")
        assert rung == []
    assert rung == ["cpu"]
    assert states(pipeline) == {"a": "queued", "b": "waiting", "c": "waiting", "d": "waiting"}
    last = job(pipeline, "d")
    assert last.name == "try: d"
    assert {(i.slot, i.source_job_id, i.source_slot) for i in last.inputs.all()} == {
        ("from-b", job(pipeline, "b").pk, "note"),
        ("from-c", job(pipeline, "c").pk, "note"),
    }


def test_records_the_pipeline_with_the_digest_of_its_document(start):
    pipeline = start()
    record = AuditRecord.objects.get(action="pipeline.submit")
    assert record.object_id == str(pipeline.pk)
    assert pipeline.document_digest in record.body
    assert AuditRecord.objects.filter(action="job.submit").count() == 3


def test_steps_may_stand_in_any_order_and_children_are_younger(start, job):
    pipeline = start([step("c", "b"), step("b", "a"), step("a")])
    assert job(pipeline, "a").pk < job(pipeline, "b").pk < job(pipeline, "c").pk


def test_the_outputs_of_one_step_are_the_inputs_of_the_next(start, states, work, job):
    pipeline = start()
    work(2)
    assert states(pipeline) == {"a": "succeeded", "b": "succeeded", "c": "queued"}
    assert job(pipeline, "c").inputs.get().artifact_id == f"{job(pipeline, 'b').pk:064x}"


def test_a_step_may_only_come_after_another_one(start, states):
    assert states(start([step("a"), step("b", after=["a"])])) == {"a": "queued", "b": "waiting"}


def test_takes_the_output_of_an_earlier_job(start, submit, work, job):
    made = submit()
    work(1)
    pipeline = start([step("a", inputs={"x": {"job": made.pk, "slot": "note"}})])
    assert job(pipeline, "a").inputs.get().artifact_id == f"{made.pk:064x}"


@pytest.mark.parametrize(("who", "error"), [("viewer", Refused), ("approver", Refused), ("stranger", NotFound)])
def test_takes_an_engineer_of_the_project(request, actor_for, start, who, error):
    with pytest.raises(error):
        start(who=actor_for(request.getfixturevalue(who)))
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("steps", "field", "code"),
    [
        ([], "/steps", "steps_count"),
        ([step(f"s{n}") for n in range(101)], "/steps", "steps_count"),
        ([step("A b")], "/steps/0/name", "bad_name"),
        ([step("x" * 51)], "/steps/0/name", "bad_name"),
        ([step("a"), step("a")], "/steps/1/name", "step_duplicate"),
        ([step("a", kind="nop")], "/steps/0/kind", "unknown_kind"),
        ([step("a", spec={"seconds": -1.0})], "/steps/0/spec/seconds", "spec_greater_than_equal"),
        ([step("a", register={"dataset": "d"})], "/steps/0/register/dataset", "unknown_register"),
        ([step("a", priority=101)], "/steps/0/priority", "out_of_range"),
        ([step("a", "z")], "/steps/0/inputs/from-z/step", "step_unknown"),
        ([step("a", after=["z"])], "/steps/0/after/0", "step_unknown"),
        ([step("a", "a")], "/steps/0", "step_cycle"),
        ([step("a"), step("b", inputs={"x": {"step": "a"}})], "/steps/1/inputs/x/slot", "slot_missing"),
        ([step("a"), step("b", inputs={"x": {"step": "a", "slot": "z"}})], "/steps/1/inputs/x/slot", "unknown_slot"),
        (
            [step("a"), step("b", inputs={"x": {"step": "a", "slot": "note/a.parquet"}})],
            "/steps/1/inputs/x/slot",
            "unknown_slot",
        ),
        (
            [
                step("a"),
                step("b", "a", kind="clean"),
                step("c", kind="profile", inputs={"x": {"step": "b", "slot": "table/a.txt"}}),
            ],
            "/steps/2/inputs/x/slot",
            "unknown_slot",
        ),
        ([step("a", inputs={"x": {"step": "a", "job": 1, "slot": "note"}})], "/steps/0/inputs/x", "input_ambiguous"),
        ([step("a", inputs={"x": {}})], "/steps/0/inputs/x", "input_empty"),
        ([step("a", inputs={"x": {"job": 9, "slot": "note"}})], "/steps/0/inputs/x/job", "job_not_found"),
        ([step("a", inputs={"x": {"digest": "c" * 64}})], "/steps/0/inputs/x/digest", "artifact_not_found"),
        ([step("a"), step("b", "a", kind="clean")], "/steps/1/inputs/table", "input_missing"),
        ([step("a"), step("b", "a", kind="clean")], "/steps/1/inputs/from-a", "unknown_slot"),
    ],
)
def test_names_the_step_and_the_field_that_is_wrong(start, steps, field, code):
    assert faults(start, *steps)[field] == code


def test_names_every_error_of_every_step_at_once(start):
    found = faults(
        start,
        step("a", kind="clean", spec={"window_size": 0}),
        step("b", "z", priority=999),
        step("b", "a"),
        name="x" * 121,
    )
    assert found == {
        "/name": "too_long",
        "/steps/0/spec/window_size": "spec_greater_than_equal",
        "/steps/0/inputs/table": "input_missing",
        "/steps/1/inputs/from-z/step": "step_unknown",
        "/steps/1/priority": "out_of_range",
        "/steps/2/name": "step_duplicate",
        "/steps/2/inputs/from-a/slot": "unknown_slot",
    }


def test_a_cycle_is_named_from_end_to_end(start):
    with pytest.raises(Invalid) as caught:
        start([step("free"), step("a", "c"), step("b", "a"), step("c", "b"), step("below", "c")])
    assert caught.value.message == "Steps wait for each other: a waits for c waits for b waits for a."
    assert caught.value.field == "/steps/1"


def test_a_job_that_cannot_be_made_leaves_none(start, monkeypatch):
    def refuse_the_last(*, actor, project, submission):
        if submission.name == "c":
            raise Invalid("Gone.", field="/inputs/x")
        return jobs.submit_job(actor=actor, project=project, submission=submission)

    monkeypatch.setattr(services, "submit_job", refuse_the_last)
    assert faults(start, *CHAIN) == {"/steps/2/inputs/x": "invalid"}


def test_the_same_key_finds_the_first_pipeline(start):
    first, second = (start(idempotency_key="k") for _ in range(2))
    assert first == second
    assert (Pipeline.objects.count(), Job.objects.count()) == (1, 3)


@pytest.mark.parametrize("other", [{"name": "x"}, {"steps": DIAMOND}])
def test_the_same_key_for_something_else_is_a_conflict(start, other):
    pipeline = start(idempotency_key="k")
    with pytest.raises(Conflict) as caught:
        start(idempotency_key="k", **other)
    assert caught.value.first() == {
        "code": "idempotency_conflict",
        "message": f"Idempotency-Key 'k' was used for another request (pipeline {pipeline.pk}).",
        "field": "Idempotency-Key",
        "limit": None,
        "hint": "Send a new key with a new request.",
    }


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_of_nonsense(start, key):
    assert faults(start, *CHAIN, idempotency_key=key) == {"Idempotency-Key": "too_long"}


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_instant_makes_one_pipeline(actor_for, engineer, project):
    actor, barrier, got = actor_for(engineer), threading.Barrier(4), []
    asked = PipelineRequest(steps=[StepBody.model_validate(one) for one in CHAIN], idempotency_key="k")

    def post():
        barrier.wait()
        try:
            got.append(services.submit_pipeline(actor=actor, project=project, request=asked))
        finally:
            connection.close()

    threads = [threading.Thread(target=post) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len({pipeline.pk for pipeline, _ in got}) == 1
    assert (Pipeline.objects.count(), Job.objects.count()) == (1, 3)
    assert sorted(new for _, new in got) == [False, False, False, True]
