"""A training run again from its record, by real engine processes: what the verdict says, and what it names."""

from __future__ import annotations

import math

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.models import MetricPoint, Run
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.services import evaluate_ended_reruns, rerun_run
from apps.ml.reruns.states import RerunState, Verdict
from apps.ml.reruns.tolerance import Tolerance
from apps.ml.reruns.verdicts import compare_pair
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import store_file
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.checkpoints import get_checkpoint
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job, retry_job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.models import Edge
from workers import checkpoints, kinds, tasks, tracking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

TABLE = "day,price\n" + "".join(f"{n},{50 + 10 * math.sin(n / 9) + n % 7 / 3}\n" for n in range(200))
SPEC = {"task": "forecast", "target": "price", "lags": 5, "hidden": [8], "epochs": 3, "checkpoint_every": 2}


@pytest.fixture
def table(worker, project, engineer, actor_for, tmp_path) -> str:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return store_file(actor=actor_for(engineer), project=project, path=path).digest


@pytest.fixture
def work(worker):
    """work(job) -> its run, once the worker has done with it."""

    def do(job: Job) -> Run:
        Job.objects.filter(pk=job.pk).update(not_before=None)
        assert tasks.run_next("cpu") == 1
        return Run.objects.select_related("job").get(job=job)

    return do


@pytest.fixture
def train(work, submit, table):
    """train(**spec) -> the run of a training that has ended."""

    def do(**spec) -> Run:
        inputs = [InputSpec(slot="table", digest=table)]
        return work(submit("train", SPEC | spec, inputs=inputs, register={"experiment": "oil"}))

    return do


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def again(work, actor_for, engineer, dispatcher):
    """again(run) -> its rerun, judged."""

    def do(run: Run) -> Rerun:
        run = Run.objects.select_related("job", "project").get(pk=run.pk)
        rerun, _ = rerun_run(actor=actor_for(engineer), run=run, tolerance=Tolerance())
        work(rerun.job)
        assert evaluate_ended_reruns(actor=dispatcher) == 1
        return Rerun.objects.select_related("job").get(pk=rerun.pk)

    return do


def test_rerun_is_identical(train, again):
    run = train()
    rerun = again(run)
    found = rerun.document
    assert (rerun.state, rerun.verdict, found["inputs"]) == (RerunState.JUDGED, Verdict.IDENTICAL, [])
    assert found["outputs"] == {"compared": 10, "differing": 0, "items": []}
    assert found["metrics"]["compared"] == found["metrics"]["identical"] > 5
    made = Run.objects.get(job=rerun.job)
    assert (made.metrics_digest, made.inputs, made.spec_digest) == (run.metrics_digest, run.inputs, run.spec_digest)
    assert Edge.objects.get(source_type="run", target_id=made.pk).source_id == run.pk


def test_rerun_ignores_checkpoint_of_first_run(train, again, monkeypatch):
    """The checkpoint of the first run's job is still there, and is not staged for the other job."""
    monkeypatch.setattr("apps.platform.jobs.services.attempts.forget_checkpoint", lambda job: None)
    staged = []
    stage = checkpoints.CheckpointKeeper.stage
    monkeypatch.setattr(checkpoints.CheckpointKeeper, "stage", lambda *asked: staged.append(asked) or stage(*asked))
    run = train()
    assert get_checkpoint(run.job)
    rerun = again(run)
    made = Run.objects.get(job=rerun.job)
    assert (rerun.verdict, staged) == (Verdict.IDENTICAL, [])
    assert made.metrics.get(key="train_loss").count == run.metrics.get(key="train_loss").count


def test_changed_code_is_named(train, again, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(tracking, "compute_code_digest", lambda: "c" * 64)
        run = train()
    rerun = again(run)
    named = [(one["kind"], one["was"]) for one in rerun.document["inputs"]]
    assert (rerun.verdict, named) == (Verdict.IDENTICAL, [("code", "c" * 64)])
    assert [one["kind"] for one in rerun.foreseen] == ["code"]


def test_changed_package_and_metric_are_named(train, again, monkeypatch):
    """As if the arithmetic of another release gave other numbers."""
    with monkeypatch.context() as older:
        older.setattr(tracking, "find_version", lambda name: "0.9" if name == "torch" else "")
        run = train()
    MetricPoint.objects.filter(metric__run=run, metric__key="train_loss", step=2).update(value=9.0)
    run.metrics.filter(key="train_loss").update(digest="d" * 64)
    rerun = again(run)
    assert rerun.verdict == Verdict.DIFFERENT
    assert ("package", "torch", "0.9") in [(one["kind"], one["name"], one["was"]) for one in rerun.document["inputs"]]
    worst = rerun.document["metrics"]["items"][0]
    assert (worst["key"], worst["first_step"], worst["absolute"]["was"]) == ("train_loss", 2, 9.0)


def test_changed_seed_is_named(train, actor_for, engineer):
    was, now = train(), train(seed=1)
    found = compare_pair(actor=actor_for(engineer), run=now, against=was, tolerance=Tolerance())
    assert found["verdict"] == Verdict.DIFFERENT
    assert found["inputs"] == [{"kind": "spec", "name": "seed", "was": "0", "now": "1"}]
    assert found["outputs"]["differing"] == 9  # the rows that were held out are the last ones, whatever the seed


def test_missing_input_bytes_are_named(train, actor_for, engineer, dispatcher, work, table):
    run = Run.objects.select_related("job", "project").get(pk=train().pk)
    rerun, _ = rerun_run(actor=actor_for(engineer), run=run, tolerance=Tolerance())
    get_store().path_of(table).unlink()
    work(rerun.job)
    evaluate_ended_reruns(actor=dispatcher)
    rerun.refresh_from_db()
    assert (rerun.state, rerun.verdict) == (RerunState.FAILED, "")
    assert rerun.document["error"]["code"] == "artifact_damaged"
    assert rerun.document["inputs"][0]["field"] == "/inputs/table/digest"


def test_failed_rerun_continues_with_retried_job(train, again, work, actor_for, engineer, dispatcher, monkeypatch):
    run = train()
    with monkeypatch.context() as broken:
        broken.setitem(kinds.ENGINE, "train", "tests.workers.quitter:refuse")
        rerun = again(run)
    assert (rerun.state, rerun.job.state) == (RerunState.FAILED, JobState.FAILED)
    retry_job(actor=actor_for(engineer), job=rerun.job)
    work(rerun.job)
    assert Rerun.objects.get().state == RerunState.RUNNING
    evaluate_ended_reruns(actor=dispatcher)
    rerun.refresh_from_db()
    assert (rerun.verdict, rerun.document["circumstances"][-1]["kind"]) == (Verdict.IDENTICAL, "attempts")
    assert Artifact.objects.count() > 4


def test_cancelled_rerun_is_judged_after_retry(train, actor_for, engineer, dispatcher, work):
    engineer_actor, run = actor_for(engineer), train()
    rerun = rerun_run(actor=engineer_actor, run=run, tolerance=Tolerance())[0]
    cancel_job(actor=engineer_actor, job=rerun.job)
    evaluate_ended_reruns(actor=dispatcher)
    rerun.refresh_from_db()
    assert rerun.state == RerunState.CANCELLED
    rerun.job.refresh_from_db()
    retry_job(actor=engineer_actor, job=rerun.job)
    work(rerun.job)
    evaluate_ended_reruns(actor=dispatcher)
    rerun.refresh_from_db()
    assert rerun.verdict == Verdict.IDENTICAL
