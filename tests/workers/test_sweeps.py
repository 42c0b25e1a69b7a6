"""A sweep by a dispatcher and a worker, round by round: what each leaves, and that the next one goes on with it."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import StaleState
from apps.ml.experiments.models import Run, RunTag
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.schemas import read_sweep_request
from apps.ml.sweeps.services import advance_sweeps, create_sweep
from apps.platform.accounts.models import Membership
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job
from workers import kinds, tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

SPACE = [{"type": "float", "name": "/value", "low": 0.0, "high": 1.0}]
BODY = {"kind": "noop", "space": SPACE, "metric": "value", "trials": 5, "parallel": 2, "startup_trials": 3}


@pytest.fixture
def advance():
    actor = build_plane_actor(PlaneRole.DISPATCHER, host="test")

    def step(sweep: Sweep) -> Sweep:
        advance_sweeps(actor=actor)
        sweep.refresh_from_db()
        return sweep

    return step


@pytest.fixture
def start(worker, project, engineer, actor_for):
    def begin(**changes) -> Sweep:
        request = read_sweep_request({**BODY, **changes}, idempotency_key=None)
        return create_sweep(actor=actor_for(engineer), project=project, request=request)[0]

    return begin


@pytest.fixture
def finish(advance):
    """finish(sweep) -> it, once dispatcher and worker have nothing to do any more."""

    def drive(sweep: Sweep) -> Sweep:
        for _ in range(40):
            if advance(sweep).ended:
                return sweep
            tasks.run_next("cpu")
        raise AssertionError(f"sweep {sweep.pk} does not end")

    return drive


def states(sweep: Sweep) -> list[str]:
    return list(sweep.trials.order_by("number").values_list("state", flat=True))


def test_a_sweep_makes_its_trials_and_learns_from_them(start, finish):
    sweep = finish(start())
    trials = list(sweep.trials.order_by("number"))
    assert (sweep.state, sweep.ask_job, states(sweep)) == ("succeeded", None, ["succeeded"] * 5)
    assert all(trial.objective == trial.values[0] for trial in trials)
    assert set(sweep.importance) == {"/value"}
    runs = Run.objects.filter(job__sweep_trial__sweep=sweep)
    parents = RunTag.objects.filter(run__in=runs, key="mlflow.parentRunId").values_list("value", flat=True)
    assert list(parents) == [sweep.run_id] * 5
    assert (sweep.run.state, runs.filter(state="finished").count()) == ("finished", 5)
    asked = Job.objects.filter(kind="sweep_ask")
    assert [job.state for job in asked] == ["succeeded"] * asked.count()
    assert Job.objects.filter(kind="noop").count() == 5


def test_a_round_that_is_repeated_changes_nothing(start, advance, monkeypatch):
    sweep = advance(advance(start()))
    assert Job.objects.count() == 1
    tasks.run_next("cpu")
    sweep = advance(advance(sweep))
    assert states(sweep) == ["running", "running", "planned"]
    assert Job.objects.filter(kind="noop").count() == 2


def test_a_dispatcher_that_is_late_starts_no_trial_twice(start, advance, monkeypatch):
    """Between its reading of the planned trials and its write, another one has started them."""
    from apps.ml.sweeps.services import driving

    sweep = advance(start())
    tasks.run_next("cpu")
    late = list(sweep.trials.select_related("sweep").order_by("number"))
    advance(sweep)
    actor = build_plane_actor(PlaneRole.DISPATCHER)
    owner = driving.build_actor_from_grant(sweep.grant)
    with pytest.raises(StaleState):
        driving.start_trial(actor, owner, late[0], driving.load_request(sweep))
    assert Job.objects.filter(kind="noop").count() == 2


def test_first_trials_that_all_fail_end_the_sweep(start, finish):
    sweep = finish(start(spec={"fail": "error"}))
    assert (sweep.state, sweep.trials.filter(state="failed").count() >= 3) == ("failed", True)
    assert sweep.end_reason["params"]["count"] == 3
    assert not Job.objects.exclude(state__in=("succeeded", "failed", "cancelled")).exists()


def test_a_metric_that_no_run_reports_is_named(start, finish):
    sweep = finish(start(metric="loss"))
    reason = sweep.trials.get(number=0).end_reason
    assert (sweep.state, reason["params"]) == ("failed", {"metric": "loss", "others": "value"})


def test_a_question_that_fails_ends_the_sweep(start, finish, monkeypatch):
    monkeypatch.setitem(kinds.ENGINE, "sweep_ask", "tests.workers.quitter:refuse")
    sweep = finish(start())
    assert (sweep.state, sweep.trials.count()) == ("failed", 0)


def test_a_trial_that_is_cancelled_counts(start, advance, finish, engineer, actor_for):
    sweep = advance(start())
    tasks.run_next("cpu")
    advance(sweep)
    cancel_job(actor=actor_for(engineer), job=sweep.trials.get(number=0).job, reason="enough")
    sweep = finish(sweep)
    assert (sweep.state, states(sweep)) == ("succeeded", ["cancelled"] + ["succeeded"] * 4)


def test_authority_that_is_gone_ends_the_sweep(start, advance, engineer):
    sweep = advance(start())
    Membership.objects.filter(user=engineer).delete()
    assert advance(sweep).state == "failed"


def test_time_that_is_over_lets_no_further_trial_start(start, advance, finish, monkeypatch):
    sweep = advance(start(timeout_seconds=3600))
    tasks.run_next("cpu")
    advance(sweep)
    Sweep.objects.filter(pk=sweep.pk).update(created_at="2020-01-01T00:00:00Z")
    sweep = finish(sweep)
    assert (sweep.state, states(sweep)) == ("succeeded", ["succeeded", "succeeded", "cancelled"])
