"""A job that is tried again goes on from its newest checkpoint, and no fault of keeping one ends it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from apps.core.errors import PlaneError, StorageFull, Unavailable
from apps.platform.artifacts.local_store import LocalStaging, LocalStore
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs import kinds as job_kinds
from apps.platform.jobs import queries, services
from apps.platform.jobs.checkpoints import AREA, get_checkpoint, get_checkpoint_area
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from workers import checkpoints, kinds, runner, tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture
def worker(worker, monkeypatch):
    """A worker whose noop jobs keep checkpoints."""
    monkeypatch.setitem(job_kinds.KINDS, "noop", replace(job_kinds.KINDS["noop"], outputs=("note",)))
    monkeypatch.setitem(kinds.ENGINE, "noop", "tests.workers.resumer:run")
    return worker


@pytest.fixture
def work(worker):
    """work(job) -> the job after one more attempt."""

    def attempt(job: Job) -> Job:
        # On a busy machine the pause before another job's next attempt may be over meanwhile.
        Job.objects.exclude(pk=job.pk).update(not_before=timezone.now() + timedelta(days=1))
        Job.objects.filter(pk=job.pk).update(not_before=None)
        assert tasks.run_next("cpu") == 1
        return Job.objects.get(pk=job.pk)

    return attempt


@pytest.fixture
def crashed(work, submit) -> Job:
    """A job of 40 steps whose first attempt was killed at step 30."""
    return work(submit(spec={"steps": 40, "seconds": 0.4, "fail": "crash"}))


@pytest.fixture
def expected(work, submit) -> str:
    """The digest of what 40 undisturbed steps make."""
    return note_digest_of(work(submit(spec={"steps": 40})))


def note_digest_of(job: Job) -> str:
    return job.outputs.get(slot="note").artifact_id


def log_of(job: Job) -> str:
    return "\n".join(f"{line['level']}: {line['text']}" for line in queries.search_log(Job.objects.get(pk=job.pk)))


def list_areas(job: Job) -> list[str]:
    """Of this job: one that ends within the upload of its checkpoint leaves its area to the sweep."""
    return [name for name in get_store().area(AREA).areas() if name.partition("-")[0] == str(job.pk)]


def test_next_attempt_resumes_and_makes_the_same(crashed, expected, work):
    kept = get_checkpoint(crashed)
    assert (crashed.state, kept.step, kept.attempt) == (JobState.QUEUED, 30, 1)
    assert get_checkpoint_area(crashed.pk, 1).verify(kept.digest)
    job = work(crashed)
    assert (job.state, job.result["began"], note_digest_of(job)) == (JobState.SUCCEEDED, 30, expected)
    assert "info: Attempt 1 left the checkpoint of step 30." in log_of(job)
    assert (get_checkpoint(job), list_areas(job)) == (None, [])


def test_retry_resumes_from_checkpoint_of_failed_engine(work, submit, actor_for, engineer):
    job = work(submit(spec={"steps": 40, "seconds": 0.2, "fail": "error"}))
    assert (job.state, get_checkpoint(job).step) == (JobState.FAILED, 30)
    services.retry_job(actor=actor_for(engineer), job=job)
    assert work(job).result["began"] == 30


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_damaged_checkpoint_starts_afresh_with_warning(crashed, expected, work, how):
    path = get_checkpoint_area(crashed.pk, 1).path_of(get_checkpoint(crashed).digest)
    path.unlink()
    if how == "damaged":
        path.write_bytes(b"other")
    job = work(crashed)
    assert "warning: The checkpoint of step 30 is damaged or gone: this attempt starts from the beginning." in log_of(
        job
    )
    assert "begins at step 0" in log_of(job).splitlines()[-1]
    assert get_checkpoint(job).attempt == 2  # it was asked to crash whenever it starts from the beginning
    job = work(job)
    assert (job.result["began"], note_digest_of(job), list_areas(job)) == (30, expected, [])


def test_store_outage_keeps_checkpoint(crashed, work, monkeypatch):
    with monkeypatch.context() as away:
        away.setattr(LocalStore, "open", lambda *_: (_ for _ in ()).throw(Unavailable("away")))
        job = work(crashed)
    assert (job.state, get_checkpoint(job).step) == (JobState.QUEUED, 30)
    assert work(job).result["began"] == 30


def test_log_reports_start_without_checkpoint(work, submit):
    job = work(work(submit(spec={"steps": 4, "fail": "crash"})))
    assert "There is no checkpoint: this attempt starts from the beginning." in log_of(job)


@pytest.mark.parametrize("failure", [StorageFull("The disk is full."), OSError(5, "Input/output error"), KeyError("x")])
def test_refusing_store_is_one_warning(work, submit, monkeypatch, failure):
    def refuse(self, chunk):
        if AREA in str(self.path):
            raise failure
        return append(self, chunk)

    append = LocalStaging._append
    monkeypatch.setattr(LocalStaging, "_append", refuse)
    job = work(submit(spec={"steps": 40, "seconds": 0.4}))
    assert (job.state, get_checkpoint(job)) == (JobState.SUCCEEDED, None)
    assert log_of(job).count("is not kept") == 1


@pytest.fixture
def slow(monkeypatch):
    """A store that takes checkpoints only when `slow` is set; the steps of those that it began to take."""
    gate = threading.Event()
    gate.began = []
    run = checkpoints.CheckpointUpload.run

    def wait(self):
        gate.began.append(self.step)
        gate.wait(60)
        run(self)

    monkeypatch.setattr(checkpoints.CheckpointUpload, "run", wait)
    yield gate
    gate.set()


def test_uploads_one_at_a_time_then_the_newest(work, submit, slow, monkeypatch):
    keep = runner.Attempt.keep_last_checkpoint  # called once the engine has ended
    monkeypatch.setattr(runner.Attempt, "keep_last_checkpoint", lambda attempt: (slow.set(), keep(attempt)))
    job = work(submit(spec={"steps": 40, "seconds": 0.3, "fail": "error"}))
    assert (slow.began, get_checkpoint(job).step) == ([5, 30], 30)
    assert len(list(get_checkpoint_area(job.pk, 1).root.glob("sha256/*/*"))) == 1


def test_successful_job_waits_for_no_upload(work, submit, slow, monkeypatch):
    monkeypatch.setattr(checkpoints, "CLOSE_SECONDS", 0.1)
    ended = []  # whether a checkpoint had been let in by then
    real = checkpoints.CheckpointUpload.run
    monkeypatch.setattr(checkpoints.CheckpointUpload, "run", lambda upload: (real(upload), ended.append(upload.step)))
    job = work(submit(spec={"steps": 10}))
    assert (job.state, bool(slow.began), ended) == (JobState.SUCCEEDED, True, [])


def test_cancel_during_upload(worker, submit, slow, actor_for, engineer, monkeypatch):
    monkeypatch.setattr(checkpoints, "CLOSE_SECONDS", 0.1)
    job = submit(spec={"steps": 1000, "seconds": 60})
    thread = in_background(lambda: tasks.run_next("cpu"))
    until(lambda: slow.began)
    services.cancel_job(actor=actor_for(engineer), job=Job.objects.get(pk=job.pk))
    thread.join(timeout=120)
    assert (thread.is_alive(), Job.objects.get(pk=job.pk).state) == (False, JobState.CANCELLED)


def test_lost_attempt_leaves_no_bytes(worker, submit, slow):
    job = submit(spec={"steps": 1000, "seconds": 60})
    thread = in_background(lambda: tasks.run_next("cpu"))
    until(lambda: slow.began)
    worker.stopping.set()
    Job.objects.filter(pk=job.pk).update(attempt=2, owner="somebody else")
    slow.set()
    thread.join(timeout=120)
    assert (thread.is_alive(), get_checkpoint(job)) == (False, None)
    assert not list((get_store().root / AREA).rglob("*/sha256/*/*"))


def test_short_database_outage_costs_no_checkpoint(work, submit, monkeypatch):
    record, failures = checkpoints.record_checkpoint, iter([OperationalError("away")])

    def away_once(**asked):
        for failure in failures:
            raise failure
        return record(**asked)

    monkeypatch.setattr(checkpoints, "record_checkpoint", away_once)
    job = work(submit(spec={"steps": 8, "fail": "error"}))
    assert (job.state, get_checkpoint(job).step) == (JobState.FAILED, 5)


def test_foreign_files_are_not_stored(work, submit, monkeypatch):
    monkeypatch.setitem(kinds.ENGINE, "noop", "tests.workers.resumer:outside")
    job = work(submit())
    assert (job.state, list_areas(job)) == (JobState.SUCCEEDED, [])
    assert log_of(job).count("warning: The checkpoint of step 1 is not kept") == 3


def test_no_descriptor_is_leaked(work, submit, engine_processes):
    work(submit(spec={"steps": 4}))
    before = open_descriptors()
    for fail in ("", "error", "crash"):
        work(submit(spec={"steps": 200, "seconds": 0.4, "fail": fail}))
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    """Pipes, event descriptors and files of the scratch and the store."""
    names = [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry)]
    return sorted(name for name in names if name.startswith(("pipe", "anon_inode")) or "checkpoint" in name)


def in_background(work) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_worker_removes_nothing_outside_of_the_scratch_folder(tmp_path):
    """The engine may exchange a folder on the way for a link after its checkpoint was opened."""
    outside, scratch = tmp_path / "home", tmp_path / "scratch"
    outside.mkdir()
    scratch.mkdir()
    (outside / "plane.sqlite3").touch()
    (scratch / "folder").symlink_to(outside)
    with pytest.raises(PlaneError):
        checkpoints.unlink_inside(scratch, scratch / "folder" / "plane.sqlite3")
    assert (outside / "plane.sqlite3").exists()
