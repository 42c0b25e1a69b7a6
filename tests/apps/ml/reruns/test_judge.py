"""The dispatcher's verdict: when there is one, what it says, and that it is given once."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import Refused
from apps.ml.experiments.models import Run
from apps.ml.reruns import services, verdicts
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.series import Budget, Interrupted
from apps.ml.reruns.services import evaluate_ended_reruns, reopen_rerun
from apps.ml.reruns.states import RerunState, Verdict
from apps.ml.reruns.tolerance import Tolerance
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job

pytestmark = [pytest.mark.django_db, pytest.mark.services]
WEIGHTS = {"model/model.safetensors": b"weights"}


def test_equal_by_digest_is_identical(ask, judged, original, end):
    rerun = ask(original)
    run = end(rerun.job, loss=[3, 2, 1], outputs=WEIGHTS)
    judged(rerun)
    assert (rerun.state, rerun.verdict, rerun.judged_at is None) == (RerunState.JUDGED, Verdict.IDENTICAL, False)
    assert (rerun.document["run"], rerun.document["against"]) == (run.pk, original.pk)
    assert rerun.document["metrics"]["identical"] == 1


def test_it_is_recorded_with_both_digests(ask, judged, original, end):
    rerun = ask(original)
    run = end(rerun.job, loss=[3, 2, 1], outputs=WEIGHTS, code="e" * 64)
    judged(rerun)
    body = json.loads(AuditRecord.objects.get(action="run.rerun_judged").body)
    assert (body["after"]["verdict"], body["reason"]) == ("identical", "Differs: code")
    assert body["digests"] == {"metrics_was": original.metrics_digest, "metrics_now": run.metrics_digest}


def test_numbers_within_the_tolerance_and_other_bytes(ask, judged, original, end):
    rerun = ask(original)
    end(rerun.job, loss=[3, 2.00001, 1], outputs={"model/model.safetensors": b"other"})
    judged(rerun)
    assert rerun.verdict == Verdict.WITHIN_TOLERANCE
    assert [one["path"] for one in rerun.document["outputs"]["items"]] == ["model/model.safetensors"]
    assert rerun.document["unexplained"] is True


def test_the_tolerance_is_the_one_asked_for(ask, judged, original, end):
    rerun = ask(original, Tolerance(relative=0.0, absolute=0.0))
    end(rerun.job, loss=[3, 2.00001, 1], outputs=WEIGHTS)
    assert judged(rerun).verdict == Verdict.DIFFERENT


def test_a_different_one_names_where_and_why(ask, judged, original, end):
    rerun = ask(original)
    packages = {"packages": {"torch": "2.10", "numpy": "2.2"}, "processor": "New 2"}
    end(rerun.job, loss=[3, 2.5, 1], environment=packages, outputs=WEIGHTS)
    document = judged(rerun).document
    worst = document["metrics"]["items"][0]
    assert (rerun.verdict, worst["key"], worst["first_step"]) == (Verdict.DIFFERENT, "loss", 2)
    assert worst["absolute"] == {"difference": 0.5, "step": 2, "was": 2.0, "now": 2.5}
    assert worst["relative"]["difference"] == 0.2
    assert [(one["kind"], one["name"], one["was"], one["now"]) for one in document["inputs"]] == [
        ("package", "torch", "2.9", "2.10"),
        ("processor", "", "Old 1", "New 2"),
    ]
    assert document["unexplained"] is False


def test_a_job_that_still_runs_is_left_alone(ask, judged, original):
    assert judged(ask(original)).state == RerunState.RUNNING


def test_a_rerun_that_failed_has_no_verdict(ask, judged, original, end):
    rerun = ask(original)
    end(rerun.job, state="failed", loss=[3])
    judged(rerun)
    assert (rerun.state, rerun.verdict) == (RerunState.FAILED, "")
    assert (rerun.document["error"]["message"], rerun.document["inputs"]) == ("It broke.", [])


def test_a_failure_made_again_is_judged(ask, judged, add_job, end):
    failed = end(add_job(), state="failed", loss=[3, 2])
    rerun = ask(failed)
    end(rerun.job, state="failed", loss=[3, 2])
    assert judged(rerun).verdict == Verdict.IDENTICAL


def test_what_failed_and_now_does_not_is_different(ask, judged, add_job, end):
    rerun = ask(end(add_job(), state="failed", loss=[3, 2]))
    end(rerun.job, loss=[3, 2])
    assert judged(rerun).verdict == Verdict.DIFFERENT
    assert rerun.document["ends"] == {"was": "failed", "now": "finished"}


def test_a_cancelled_one_says_why(ask, judged, original, actor_for, engineer):
    rerun = ask(original)
    cancel_job(actor=actor_for(engineer), job=rerun.job, reason="a typo")
    judged(rerun)
    assert (rerun.state, rerun.document) == (RerunState.CANCELLED, {"error": {"message": "a typo"}})


def test_it_waits_for_an_original_that_goes_on(ask, judged, add_job, end):
    failed = end(add_job(), state="failed", loss=[3])
    rerun = ask(failed)
    end(rerun.job, state="failed", loss=[3])
    Run.objects.filter(pk=failed.pk).update(state="running")
    assert judged(rerun).state == RerunState.RUNNING


def test_two_dispatchers_judge_once(ask, dispatcher, original, end, monkeypatch):
    """The other one is faster, between the look and the write of this one."""
    rerun = ask(original)
    end(rerun.job, loss=[3, 2, 1], outputs=WEIGHTS)

    def meanwhile(*asked):
        monkeypatch.undo()
        evaluate_ended_reruns(actor=dispatcher)
        return verdicts.build_verdict(*asked)

    monkeypatch.setattr(services, "build_verdict", meanwhile)
    assert evaluate_ended_reruns(actor=dispatcher) == 0
    assert AuditRecord.objects.filter(action="run.rerun_judged").count() == 1
    assert evaluate_ended_reruns(actor=dispatcher) == 0


def test_a_dispatcher_that_stops_leaves_it_open(ask, dispatcher, original, end):
    rerun = ask(original)
    end(rerun.job, loss=[3, 2, 2], outputs=WEIGHTS)
    assert evaluate_ended_reruns(actor=dispatcher, stopping=lambda: True) == 0
    rerun.refresh_from_db()
    assert (rerun.state, rerun.document) == (RerunState.RUNNING, {})
    with pytest.raises(Interrupted):
        Budget(stopping=lambda: True).use(1)


def test_tried_again_it_is_open_again(ask, judged, original, end, worker_actor):
    rerun = ask(original)
    end(rerun.job, state="failed", loss=[3])
    judged(rerun)
    reopen_rerun(actor=worker_actor, job=rerun.job)
    rerun.refresh_from_db()
    assert (rerun.state, rerun.document, rerun.judged_at) == (RerunState.RUNNING, {}, None)
    assert reopen_rerun(actor=worker_actor, job=rerun.job) is None
    assert reopen_rerun(actor=worker_actor, job=original.job) is None


@pytest.mark.parametrize("who", ["engineer", "auditor"])
def test_nobody_else_judges(who, request, actor_for, db):
    with pytest.raises(Refused):
        evaluate_ended_reruns(actor=actor_for(request.getfixturevalue(who)))


def test_a_look_at_nothing_costs_one_query(ask, original, dispatcher, django_assert_num_queries):
    ask(original)
    Job.objects.update(state="queued")
    with django_assert_num_queries(1):
        evaluate_ended_reruns(actor=dispatcher)
    assert Rerun.objects.count() == 1
