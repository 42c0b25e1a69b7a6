"""A tracked job leaves one run, whatever happens to its attempts; through real engine processes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.db.models.functions import Now

from apps.core.errors import StaleState
from apps.ml.experiments.models import Run
from apps.ml.experiments.states import RunState
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs import kinds as job_kinds
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.lineage.models import Edge
from deepseek.code import compute_code_digest
from workers import kinds, tasks, tracking
from workers.tracking import Tracker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture
def worker(worker, monkeypatch):
    """A worker whose noop jobs log metrics and are tracked."""
    tracked = replace(job_kinds.KINDS["noop"], tracked=True, outputs=("figures",), registers=("experiment",))
    monkeypatch.setitem(job_kinds.KINDS, "noop", tracked)
    monkeypatch.setitem(kinds.ENGINE, "noop", "tests.workers.measurer:run")
    return worker


@pytest.fixture
def work(worker, submit):
    """work(**spec) -> (the job once the worker has done with it, its run)."""

    def do(job=None, **spec):
        job = job or submit(spec=spec, name="first try", register={"experiment": "oil"})
        tasks.run_next("cpu")
        job.refresh_from_db()
        return job, Run.objects.get(job=job)

    return do


def newest_metrics(run) -> dict[str, float]:
    return {metric.key: metric.number for metric in run.metrics.all()}


def test_successful_job_records_metrics_figures_and_artifacts(work):
    job, run = work()
    assert (job.state, run.state, run.experiment.name, run.name) == ("succeeded", "finished", "oil", "first try")
    told = newest_metrics(run)
    assert {key: told[key] for key in ("test/rmse", "baseline/rmse", "size_bytes", "train/loss")} == {
        "test/rmse": 0.5,
        "baseline/rmse": 2.0,
        "size_bytes": 10,
        "train/loss": 1 / 3,
    }
    assert run.metrics.get(key="train/odd").is_nan
    assert (run.figures["rows"], run.metrics_count, len(run.metrics_digest)) == (7, 7, 64)
    assert run.artifacts.values_list("path", "artifact").get() == (
        "figures/figures.json",
        job.outputs.get().artifact_id,
    )
    assert Edge.objects.filter(target_type="run", target_id=run.pk, source_id=str(job.pk)).exists()


def test_run_records_params_environment_and_code(work):
    job, run = work(steps=3)
    assert run.params.get(key="steps").value == "3"
    assert (run.spec_digest, run.created_by, run.kind, run.attempt) == (job.spec_digest, "engineer", "noop", 1)
    assert run.environment["packages"]["torch"]
    assert (run.environment["node"], run.environment["threads"]) == ("test", 1)
    assert run.code_digest == compute_code_digest()


def test_failed_job_closes_its_run(work):
    job, run = work(fail="error")
    assert (job.state, run.state, newest_metrics(run)["train/loss"]) == (JobState.FAILED, RunState.FAILED, 1 / 3)
    assert not run.artifacts.exists()


def test_crash_leaves_run_open_for_next_attempt(work):
    job, run = work(fail="crash")
    assert (job.state, run.state, run.attempt) == (JobState.QUEUED, RunState.RUNNING, 1)
    Job.objects.filter(pk=job.pk).update(not_before=None, spec="{}")
    job, again = work(job)
    assert (again.pk, again.state, again.attempt) == (run.pk, RunState.FINISHED, 2)
    assert again.metrics.get(key="train/loss").count == 3


def test_equal_runs_have_equal_metrics_digests(work):
    assert work()[1].metrics_digest == work()[1].metrics_digest


def test_cancelled_job_kills_its_run(work, submit):
    job = submit(spec={"seconds": 30})
    Job.objects.filter(pk=job.pk).update(cancel_requested_at=Now(), cancel_reason="a typo")
    job, run = work(job)
    assert (job.state, run.state) == (JobState.CANCELLED, RunState.KILLED)


def test_untracked_kind_makes_no_run(worker, submit, monkeypatch):
    monkeypatch.setitem(job_kinds.KINDS, "noop", replace(job_kinds.KINDS["noop"], tracked=False))
    job = submit()
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, Run.objects.count()) == (JobState.SUCCEEDED, 0)


def test_failed_registration_leaves_run_unchanged(work, monkeypatch):
    def broken(actor, job, outputs):
        raise RuntimeError("no")

    monkeypatch.setitem(kinds.REGISTER, "noop", broken)
    job, run = work()
    assert (job.state, job.error["code"], run.state) == (JobState.QUEUED, "worker_fault", RunState.RUNNING)
    assert "test/rmse" not in newest_metrics(run)


# -- one call at a time -----------------------------------------------------------------------------------------------
@pytest.fixture
def claimed(worker, submit, worker_actor, node):
    submit()
    return services.claim_job(actor=worker_actor, node=node, owner="test:1", queue="cpu")


@pytest.fixture
def tracker(claimed, worker_actor):
    made = Tracker(worker_actor, claimed)
    made.open_run()
    return made


def test_lost_job_begins_no_run(claimed, worker_actor):
    Job.objects.filter(pk=claimed.pk).update(attempt=2)
    with pytest.raises(StaleState):
        Tracker(worker_actor, claimed).open_run()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ({"name": "a", "value": 1, "step": 2, "at": 0}, (1.0, 2)),
        ({"name": "a", "value": "1e999", "step": 0}, (float("inf"), 0)),
        ({"name": "a", "value": "x", "step": 0}, None),
        ({"name": "a", "value": None, "step": 0}, None),
        ({"name": "", "value": 1, "step": 0}, None),
        ({"name": None, "value": 1, "step": 0}, None),
        ({"name": "a", "value": 1, "step": 0.5}, None),
        ({"name": "a", "value": 1, "step": None}, None),
        ({"name": "a", "value": 1, "step": 2**60}, None),
    ],
)
def test_invalid_metric_is_skipped(tracker, raw, kept):
    assert tracker.log([raw]) == (0 if kept else 1)
    found = tracker.run.metrics.values_list("value", "step").first()
    assert found == kept


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"schema": "x"}', b'{"rows": NaN}', b'{"a": "\\u0000"}', b"\xff"])
def test_invalid_figures_are_empty(data):
    assert tracking.parse_figures(data) == {}


def test_params_are_the_flattened_spec():
    spec = {"task": "forecast", "schedule": {"max_lr": 0.001}, "hidden": [64, 64], "features": None, "csv": {}}
    told = {"task": "forecast", "schedule.max_lr": "0.001", "hidden": "[64, 64]", "features": "null", "csv": "{}"}
    assert (tracking.flatten_spec(spec), tracking.flatten_spec({})) == (told, {})


def test_requeued_job_leaves_its_run_open(tracker, claimed):
    tracker.close(services.fail_attempt(actor=tracker.actor, job=claimed, error={"message": "x"}, retry=True))
    assert Run.objects.get().state == RunState.RUNNING
    assert not Artifact.objects.exists()


def test_environment_names_only_the_gpus_of_the_job():
    gpus = [{"index": 0, "name": "first"}, {"index": 1, "name": "second"}]
    node = SimpleNamespace(name="n", host="h", hardware={}, cpus=2, memory_bytes=1, gpus=gpus)
    facts = tracking.describe_environment(SimpleNamespace(kind="noop", node=node, need_cpus=1, devices=[1]))
    assert facts["gpus"] == [gpus[1]]
