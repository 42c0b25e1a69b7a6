"""The dispatcher's steps after an alarm: each once, whatever is killed, and each end with its reason."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from apps.core.actors import ProjectRole
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Refused
from apps.fleet.monitoring.models import Alarm, Retraining
from apps.fleet.monitoring.services import advance_retrainings, retraining_steps, retraining_turns, set_retraining_plan
from apps.fleet.monitoring.services.retraining_steps import MAX_FAULTS
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.registry.models import Alias, Evaluation, EvaluationSet
from apps.ml.registry.services.aliases import request_promotion
from apps.platform.accounts.models import Membership
from apps.platform.approvals.models import Approval
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.notices.models import Notice
from tests.apps.fleet.monitoring.conftest import LATER, NOON
from tests.apps.fleet.monitoring.retraining.conftest import end

pytestmark = pytest.mark.django_db

STATES = ("queued", "collecting", "training", "evaluating", "requesting")
HOUR = timedelta(hours=1)


class Killed(BaseException):
    """As SIGKILL: nothing catches it."""


def count_made():
    kinds = ("retraining_data", "train", "evaluate")
    jobs = [Job.objects.filter(kind=kind).count() for kind in kinds]
    return [*jobs, Pipeline.objects.count(), EvaluationSet.objects.count(), Approval.objects.count()]


def test_an_alarm_leads_to_a_request_for_approval_and_no_further(advance, decide, step, former):
    before = Alias.objects.get().version
    found = advance("awaiting_approval")
    job = Job.objects.get(kind="retraining_data")
    spec = json.loads(job.spec)
    assert (spec["target"], spec["context"], job.register) == (
        "close",
        3,
        {"dataset": "later-retraining", "fresh": "later-fresh"},
    )
    assert spec["since"].startswith("2026-07-02T11:00:00")
    train = PipelineStep.objects.get(pipeline=found.pipeline, name="train").job
    assert train.inputs.get().artifact_id == found.data.files.get().artifact_id
    facts = json.loads(found.approval.facts)["evidence"]["retraining"]
    assert (facts["alarm"], facts["evidence"]) == (found.alarm_id, compute_digest(found.alarm.evidence))
    fresh = facts["sets"]["later-fresh-r1"]
    assert (fresh["former"]["metrics"]["rmse"]["value"], fresh["version"]["metrics"]["rmse"]["value"]) == (5.0, 1.0)
    assert (found.approval.requester, Alias.objects.get().version) == ("engineer", before)
    decide(found.approval)
    assert step().state == "approved"
    assert Alias.objects.get().version == found.version
    actions = list(AuditRecord.objects.filter(object_type="retraining").order_by("pk").values_list("action", flat=True))
    assert actions == [f"retraining.{state}" for state in (*STATES, "awaiting_approval", "approved")]


@pytest.mark.parametrize("state", STATES)
def test_killed_before_a_step_is_committed_it_is_taken_once(advance, step, finish, monkeypatch, state):
    found = advance(state)
    if state in ("collecting", "training", "evaluating"):
        finish(found)
    before = count_made()

    def kill(*_rest, **_more):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(retraining_turns, "change_state", kill)
        with pytest.raises(Killed):
            step()
    assert Retraining.objects.get().state == state
    kept = count_made()
    assert kept[:-1] == before[:-1]  # a request for approval has transactions of its own, and is looked for
    step()
    made = count_made()
    assert max(now - then for now, then in zip(made[:2], before[:2], strict=True)) <= 1
    assert made[-1] - before[-1] == (state == "requesting")


def test_an_edited_alarm_voids_the_approval(advance, decide):
    found = advance("awaiting_approval")
    Alarm.objects.update(evidence={"by_version": []})
    with pytest.raises(Conflict) as refusal:
        decide(found.approval)
    assert refusal.value.code == "approval_void"


def test_what_is_rejected_ends_there(advance, decide, step):
    found = advance("awaiting_approval")
    decide(found.approval, rejects=True)
    ended = step()
    assert (ended.state, ended.state_reason["params"]["state"]) == ("rejected", "rejected")


def test_a_request_that_a_person_made_is_not_made_again(advance, step, actor_for, engineer):
    found = advance("requesting")
    approval = request_promotion(actor=actor_for(engineer), version=found.version)
    assert (step().approval, Approval.objects.filter(state="pending").count()) == (approval, 1)


def test_gates_are_evaluated_and_may_stop_it(advance, finish, step, gate, measure, former, dataset_version, a_set):
    gate(former.model, a_set("golden"), margin=0.0)
    found = advance("evaluating")
    assert {each["set"] for each in found.evaluations} == {"golden r1", "later-fresh r1"}
    assert len(found.evaluations) == 4
    golden = EvaluationSet.objects.get(name="golden")
    finish(found)
    Evaluation.objects.filter(set=golden).delete()
    measure(former, golden, 1.0)
    measure(found.version, golden, 9.0)
    step()
    ended = step()
    assert (ended.state, Approval.objects.filter(state="pending").exists()) == ("failed", False)
    assert "golden" in ended.state_reason["message"]


# -- what goes wrong ------------------------------------------------------------------------------------------------
def fail_owner_gone(engineer):
    engineer.is_active = False
    engineer.save()


def fail_role_gone(engineer):
    Membership.objects.filter(user=engineer).update(role=ProjectRole.VIEWER)


def fail_pipeline_gone(engineer):
    PipelineStep.objects.all().delete()


def fail_version_gone(engineer):
    Retraining.objects.update(former=None)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (fail_owner_gone, "set the plan again"),
        (fail_role_gone, "may not"),
        (fail_pipeline_gone, "no pipeline registered it"),
        (fail_version_gone, "is gone"),
    ],
)
def test_what_it_needs_is_gone(retraining, step, engineer, break_it, words):
    break_it(engineer)
    ended = step()
    assert (ended.state, ended.next_at) == ("failed", None)
    assert words in ended.state_reason["message"]
    assert Notice.objects.filter(kind="retraining.failed").count() == (break_it is not fail_owner_gone)


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [("collecting", "retraining_data", "too few"), ("training", "train", "too few"), ("evaluating", "evaluate", "")],
)
def test_a_job_fails(advance, step, state, kind, words):
    found = advance(state)
    jobs = Job.objects.filter(kind=kind)
    if state == "training":
        jobs = Job.objects.filter(pipeline_step__pipeline=found.pipeline)
    end(jobs, "failed", error={"code": "too_few_rows", "message": "too few rows"})
    ended = step()
    assert (ended.state, Notice.objects.filter(kind="retraining.failed").count()) == ("failed", 1)
    assert words in ended.state_reason["message"]
    assert step().state == "failed"


def test_labels_are_waited_for_and_not_for_ever(monitor, err, evaluate, step, actor_for, engineer):
    set_retraining_plan(actor=actor_for(engineer), monitor=monitor, min_rows=150, wait_hours=2)
    err(NOON - HOUR)
    evaluate()
    assert [step().state, step(later=60).state] == ["queued", "queued"]
    ended = step(later=70)
    assert (ended.state, ended.state_reason["params"]) == ("failed", {"count": 100, "least": 150})


def test_labels_that_come_in_time_are_enough(monitor, err, evaluate, step, actor_for, engineer):
    set_retraining_plan(actor=actor_for(engineer), monitor=monitor, min_rows=150, wait_hours=2)
    err(NOON - HOUR)
    evaluate()
    assert step().state == "queued"
    err(NOON, count=60)
    assert step(later=60).state == "collecting"


def test_a_refused_submission_ends_it(retraining, step, monkeypatch):
    def refuse(**_asked):
        raise Conflict("The queue is full.", code="queue_full")

    monkeypatch.setattr(retraining_steps, "submit_job", refuse)
    ended = step()
    assert (ended.state, ended.state_reason["message"]) == ("failed", "The queue is full.")


def test_a_fault_of_the_plane_is_tried_again_and_not_for_ever(retraining, step, monkeypatch):
    def fail(**_asked):
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(retraining_steps, "seal_period", fail)
        found = step()
        assert (found.state, found.faults) == ("queued", 1)
        for _ in range(MAX_FAULTS - 1):
            found = step(later=120)
        assert (found.state, found.faults) == ("failed", MAX_FAULTS - 1)


def test_a_fault_that_passes_is_forgotten(retraining, step, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(retraining_steps, "seal_period", lambda **_asked: 1 / 0)
        step()
    found = step(later=10)
    assert (found.state, found.faults) == ("collecting", 0)


# -- the budget -----------------------------------------------------------------------------------------------------
def close_alarms():
    Alarm.objects.update(state="closed", closed_at=NOON - timedelta(days=9))


def test_none_begins_while_one_has_not_ended(retraining, err, evaluate, step):
    close_alarms()
    err(NOON)
    evaluate(NOON + HOUR + LATER)
    refused = Retraining.objects.get(state="refused")
    assert refused.state_reason["params"] == {"alarm": retraining.alarm_id}
    assert step().state == "collecting"  # the first goes on
    assert AuditRecord.objects.filter(action="retraining.refused").count() == 1


def test_so_many_a_week(retraining, err, evaluate):
    close_alarms()
    Retraining.objects.update(state="failed", next_at=None)
    err(NOON)
    evaluate(NOON + HOUR + LATER)
    assert Retraining.objects.get(state="refused").state_reason["params"] == {"count": 1, "most": 1}
    close_alarms()
    Retraining.objects.update(created_at=NOON - timedelta(days=8))
    err(NOON + HOUR)
    evaluate(NOON + 2 * HOUR + LATER)
    assert Retraining.objects.filter(state="queued").count() == 1


def test_two_monitors_of_a_model_train_it_once(plan, watch, err, evaluate, actor_for, engineer):
    other = watch(name="other")
    set_retraining_plan(actor=actor_for(engineer), monitor=other)
    err(NOON - HOUR)
    evaluate()
    assert sorted(Retraining.objects.values_list("state", flat=True)) == ["queued", "refused"]


def test_only_the_plane_drives(retraining, actor_for, engineer):
    with pytest.raises(Refused):
        advance_retrainings(actor=actor_for(engineer))
