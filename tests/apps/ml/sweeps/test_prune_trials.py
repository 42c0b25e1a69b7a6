"""Which trials are stopped early, by what their runs have reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.services import Facts, log_metrics, start_run
from apps.ml.sweeps.models import SweepTrial
from apps.ml.sweeps.pruning import compare_at_rung, compare_with_median, list_rungs
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import Submission
from deepseek.sweep.spec import SweepSettings
from tests.apps.ml.sweeps.conftest import SPACE

START = datetime(2026, 1, 2, tzinfo=UTC)


def settings(**changes) -> SweepSettings:
    return SweepSettings.model_validate({"space": SPACE, "metric": "value", **changes})


def test_the_median_of_the_others_decides():
    asked = settings(pruning_trials=3, pruning_steps=10)
    assert compare_with_median(asked, 10, 0.6, [0.1, 0.5, 0.9]).params["median"] == "0.5"
    assert compare_with_median(asked, 10, 0.5, [0.1, 0.5, 0.9]) is None
    assert compare_with_median(asked, 9, 0.6, [0.1, 0.5, 0.9]) is None
    assert compare_with_median(asked, 10, 0.6, [0.1, 0.5]) is None
    assert compare_with_median(settings(direction="maximize", pruning_trials=1), 1, 0.6, [0.5]) is None


def test_one_in_so_many_goes_on_at_a_rung():
    asked = settings(pruning_steps=2, reduction_factor=3)
    assert list_rungs(asked, 20) == [(0, 2), (1, 6), (2, 18)]
    assert list_rungs(asked, 1) == []
    assert compare_at_rung(asked, 2, 0.9, []) is None
    assert compare_at_rung(asked, 2, 0.9, [0.1]) is not None
    assert compare_at_rung(asked, 2, 0.2, [0.1, 0.3, 0.4, 0.5, 0.6]) is None
    assert compare_at_rung(asked, 2, 0.3, [0.1, 0.2, 0.4, 0.5, 0.6]).params["kept"] == 2


@pytest.fixture
def report(project, engineer, actor_for, worker_actor):
    """report(sweep, number, values, state) -> a trial whose run has reported these values, at steps from 1."""

    def write(sweep, number, values, state="running") -> SweepTrial:
        submission = Submission(kind="noop", spec={})
        job = submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]
        trial = SweepTrial.objects.create(sweep=sweep, number=number, values=[0.5], state=state, job=job)
        Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, attempt=1, owner="w", lease_until=Now())
        job.refresh_from_db()
        run = start_run(actor=worker_actor, job=job, facts=Facts())
        points = [Point("value", value, step, START + timedelta(seconds=step)) for step, value in enumerate(values, 1)]
        log_metrics(actor=worker_actor, run=run, points=points)
        return trial

    return write


@pytest.mark.django_db
def test_a_trial_worse_than_the_median_is_pruned_with_its_job(start, advance, report):
    sweep = start(pruner="median", pruning_trials=2)
    for number, values in enumerate(([0.5, 0.3], [0.4, 0.2])):
        report(sweep, number, values, state="succeeded")
    bad, good = report(sweep, 2, [0.9, 0.8]), report(sweep, 3, [0.9, 0.1])
    advance(sweep)
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, bad.objective, bad.step) == ("pruned", 0.8, 2)
    assert bad.end_reason["params"] == {"step": 2, "value": "0.8", "median": "0.25", "count": 2}
    assert bad.job.cancel_requested_at is not None
    assert "Pruned. At step 2" in bad.job.cancel_reason
    assert (good.state, good.checked_step) == ("running", 2)


@pytest.mark.django_db
def test_halving_keeps_what_each_rung_saw(start, advance, report):
    sweep = start(pruner="halving", pruning_steps=1, reduction_factor=2, parallel=8)
    first = report(sweep, 0, [0.5, 0.5])
    advance(sweep)
    second, third = report(sweep, 1, [0.7]), report(sweep, 2, [0.1, 0.6])
    advance(sweep)
    states = {trial.number: (trial.state, trial.rungs) for trial in SweepTrial.objects.filter(sweep=sweep)}
    assert states[first.number] == ("running", {"0": 0.5, "1": 0.5})
    assert states[second.number] == ("pruned", {"0": 0.7})
    assert states[third.number] == ("running", {"0": 0.1, "1": 0.1})
