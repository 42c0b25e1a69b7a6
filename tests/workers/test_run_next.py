"""workers.tasks.run_next against a real database and store: claim, run, stop, retry, and what is left behind."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from django.db import OperationalError, connection

from apps.core.errors import Unavailable
from apps.platform.jobs import services
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.states import JobState
from apps.platform.nodes import disks, hardware
from workers import runner, tasks

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def test_runs_until_nothing_is_claimable(worker, submit, engine_processes):
    jobs = [submit(spec={"echo": str(number)}) for number in range(3)]
    assert tasks.run_next("cpu") == 3
    assert {Job.objects.get(pk=job.pk).state for job in jobs} == {JobState.SUCCEEDED}
    assert tasks.run_next("cpu") == 0


def test_parent_output_fills_child_input(worker, submit):
    parent = submit(spec={"echo": "bytes"})
    child = submit(inputs=[services.InputSpec(slot="x", job_id=parent.pk, job_slot="echo")])
    assert tasks.run_next("cpu") == 2
    child.refresh_from_db()
    assert child.result["inputs"]["x"] == parent.outputs.get(slot="echo").artifact_id


def test_log_and_events_are_in_order(worker, submit, engine_processes):
    job = submit(spec={"seconds": 0.6, "steps": 6, "log_lines": 12})
    tasks.run_next("cpu")
    events = list(JobEvent.objects.filter(job=job).order_by("seq"))
    lines = [text for event in events if event.kind == "log" for _, _, text in event.payload["lines"]]
    assert lines == [f"line {number} of 12" for number in range(1, 13)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].payload["state"] == JobState.SUCCEEDED


def test_scratch_left_by_a_dead_process_is_replaced(worker, submit, monkeypatch):
    left = runner.get_scratch_root() / "left"
    (left / "out").mkdir(parents=True)
    (left / "out" / "note.txt").write_text("of another attempt")
    monkeypatch.setattr(runner, "build_marker", lambda *parts: "left")
    job = submit()
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)


def test_engine_error_fails_without_retry(worker, submit):
    job = submit(spec={"fail": "error"})
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempt) == (JobState.FAILED, "asked_to_fail", 1)


def test_crash_is_retried_after_pause(worker, submit):
    job = submit(spec={"fail": "crash"})
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempt) == (JobState.QUEUED, "engine_crashed", 1)
    assert job.not_before is not None


def test_crash_of_last_attempt_fails_job(worker, submit):
    job = submit(spec={"fail": "crash"}, max_attempts=1)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "engine_crashed")


def test_time_limit_ends_job(worker, submit):
    job = submit(spec={"seconds": 60}, time_limit_seconds=1)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "time_limit")


def in_background(work) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until_running(job) -> Job:
    for _ in range(1200):
        job.refresh_from_db()
        if job.state == JobState.RUNNING and job.process:
            return job
        threading.Event().wait(0.05)
    raise AssertionError(job.state)


def test_cancel_ends_running_job(worker, submit, engineer, actor_for):
    job = submit(spec={"seconds": 60, "steps": 600})
    thread = in_background(lambda: tasks.run_next("cpu"))
    services.cancel_job(actor=actor_for(engineer), job=until_running(job), reason="enough")
    thread.join(timeout=120)
    job.refresh_from_db()
    assert (job.state, job.cancel_reason, thread.is_alive()) == (JobState.CANCELLED, "enough", False)


def test_graceful_stop_requeues_job_and_costs_no_attempt(worker, submit):
    job = submit(spec={"seconds": 60, "steps": 600})
    thread = in_background(lambda: tasks.run_next("cpu"))
    until_running(job)
    worker.stopping.set()
    for attempt in list(worker.heartbeat.attempts.values()):
        attempt.stop("released")
    thread.join(timeout=120)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.attempts_used) == (JobState.QUEUED, 1, 0)


def test_lost_job_is_dropped_without_write(worker, submit):
    job = submit(spec={"seconds": 60, "steps": 600})
    thread = in_background(lambda: tasks.run_next("cpu"))
    until_running(job)
    worker.stopping.set()
    Job.objects.filter(pk=job.pk).update(attempt=9, owner="somebody else")
    thread.join(timeout=120)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.owner) == (JobState.RUNNING, 9, "somebody else")


@pytest.mark.parametrize("where", ["stage_artifact", "upload"])
def test_unexpected_fault_is_named_and_retried(worker, submit, parent, monkeypatch, where):
    monkeypatch.setattr(runner.outputs, where, lambda *_: {}["absent"])
    job = submit(inputs=[services.InputSpec(slot="x", job_id=parent.pk, job_slot="echo")])
    assert tasks.run_next("cpu") == 1
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.QUEUED, "worker_fault")
    assert "KeyError" in job.error["message"]


@pytest.mark.parametrize("where", ["stage_artifact", "upload"])
@pytest.mark.parametrize("how", ["cancelled", "timeout", "released"])
def test_stop_interrupts_staging_and_upload(worker, submit, parent, monkeypatch, where, how):
    monkeypatch.setattr(runner.outputs, where, for_ever)
    limit = 1 if how == "timeout" else 60
    inputs = [services.InputSpec(slot="x", job_id=parent.pk, job_slot="echo")]
    job = submit(inputs=inputs, time_limit_seconds=limit)
    thread = in_background(lambda: tasks.run_next("cpu"))
    while not worker.heartbeat.attempts:
        threading.Event().wait(0.02)
    worker.stopping.set()
    if how != "timeout":
        next(iter(worker.heartbeat.attempts.values())).stop(how)
    thread.join(timeout=120)
    job.refresh_from_db()
    assert job.state == {"cancelled": "cancelled", "timeout": "failed", "released": "queued"}[how]


def for_ever(*arguments) -> None:
    while True:
        arguments[-1]()
        threading.Event().wait(0.02)


@pytest.fixture
def parent(worker, submit) -> Job:
    made = submit(spec={"echo": "bytes"})
    tasks.run_next("cpu")
    return made


def test_stop_between_claim_and_start_requeues_job(worker, submit, monkeypatch):
    job, claim = submit(spec={"seconds": 60}), services.claim_job

    def claim_and_stop(**asked):
        worker.stopping.set()
        return claim(**asked)

    monkeypatch.setattr(services, "claim_job", claim_and_stop)
    assert tasks.run_next("cpu") == 1
    job.refresh_from_db()
    assert (job.state, job.attempts_used) == (JobState.QUEUED, 0)


def test_short_database_outage_costs_no_attempt(worker, submit, monkeypatch):
    job, report, failures = submit(spec={"echo": "x"}), services.report_events, iter([OperationalError("away")])

    def away_once(**asked):
        for failure in failures:
            raise failure
        return report(**asked)

    monkeypatch.setattr(services, "report_events", away_once)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


@pytest.mark.parametrize("where", ["stage_artifact", "upload"])
def test_store_outage_costs_no_attempt(worker, submit, parent, monkeypatch, where):
    def away(*_):
        raise Unavailable("The object store does not answer.")

    monkeypatch.setattr(runner.outputs, where, away)
    job = submit(inputs=[services.InputSpec(slot="x", job_id=parent.pk, job_slot="echo")], max_attempts=1)
    assert tasks.run_next("cpu") == 1
    job.refresh_from_db()
    assert (job.state, job.attempts_used, job.error["code"]) == (JobState.QUEUED, 0, "unavailable")


def fill_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["stage_artifact", "upload"])
def test_full_disk_costs_no_attempt(worker, submit, parent, monkeypatch, where):
    monkeypatch.setattr(runner.outputs, where, fill_disk)
    job = submit(inputs=[services.InputSpec(slot="x", job_id=parent.pk, job_slot="echo")], max_attempts=1)
    assert tasks.run_next("cpu") == 1
    job.refresh_from_db()
    assert (job.state, job.attempts_used, job.error["code"]) == (JobState.QUEUED, 0, "storage_full")
    assert job.stalled_since is not None


def test_attempt_that_fills_the_disk_itself_counts(worker, submit, monkeypatch):
    """Else it would do so again and again, for a day, and stall every other job of the node."""

    def fill(spec, *, inputs, out, report):
        Path(out).with_name("large").write_bytes(b"x" * 300_000)
        fill_disk()

    monkeypatch.setattr("deepseek.noop.run.run", fill)
    monkeypatch.setattr(disks, "get_disk_space", lambda folder: (500_000, 0))
    job = submit(max_attempts=1)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempts_used) == (JobState.FAILED, "storage_full", 1)
    assert "itself" in job.error["message"]


def test_full_disk_in_the_engine_costs_no_attempt(worker, submit, monkeypatch):
    monkeypatch.setattr("deepseek.noop.run.run", fill_disk)
    monkeypatch.setattr(disks, "get_disk_space", lambda folder: (500_000_000_000, 1_000_000))
    job = submit(max_attempts=1)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.attempts_used, job.error["code"]) == (JobState.QUEUED, 0, "storage_full")


def test_engine_that_fills_what_is_its_own_alone_pays_for_it(worker, submit, monkeypatch):
    """Its /dev/shm for instance: the disk of the node has room."""
    monkeypatch.setattr("deepseek.noop.run.run", fill_disk)
    monkeypatch.setattr(disks, "get_disk_space", lambda folder: (500_000_000_000, 400_000_000_000))
    job = submit(max_attempts=1)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.attempts_used) == (JobState.FAILED, 1)


def test_scratch_that_cannot_be_used_costs_no_attempt(worker, submit):
    scratch = runner.get_scratch_root()
    scratch.parent.mkdir(parents=True, exist_ok=True)
    scratch.touch()  # a file where the folder should be: root may write anywhere
    job = submit(max_attempts=1)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.attempts_used, job.error["code"]) == (JobState.QUEUED, 0, "node_unusable")
    scratch.unlink()
    Job.objects.update(not_before=None)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


def test_store_that_is_not_mounted_costs_no_attempt(worker, submit, parent, tmp_path):
    job = submit(inputs=[services.InputSpec(slot="x", job_id=parent.pk, job_slot="echo")], max_attempts=1)
    (tmp_path / "artifacts").rename(tmp_path / "unmounted")
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, job.attempts_used, job.error["code"]) == (JobState.QUEUED, 0, "store_unreachable")
    without = submit(spec={"echo": "would be lost under the mount"})
    tasks.run_next("cpu")
    without.refresh_from_db()
    assert (without.state, without.error["code"]) == (JobState.QUEUED, "store_unreachable")


def test_short_disk_claims_nothing(worker, submit, monkeypatch):
    job = submit()
    with monkeypatch.context() as patch:
        patch.setattr(hardware, "get_disk_space", lambda folder: (10**9, 10**6))
        assert tasks.run_next("cpu") == 0
    assert tasks.run_next("cpu") == 1
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)


def test_database_away_for_longer_than_the_lease_costs_no_attempt(worker, submit, monkeypatch):
    """The job is given up, and given back as soon as that can be written."""
    job, report, failures = submit(spec={"echo": "x"}), services.report_events, iter([OperationalError("away")] * 3)

    def away(**asked):
        for failure in failures:
            raise failure
        return report(**asked)

    monkeypatch.setattr(services, "report_events", away)
    monkeypatch.setattr(runner, "get_lease_seconds", lambda: 0.1)
    assert tasks.run_next("cpu") == 2
    job.refresh_from_db()
    assert (job.state, job.attempt, job.attempts_used) == (JobState.SUCCEEDED, 2, 1)
    reasons = [event.payload.get("reason") for event in JobEvent.objects.filter(job=job, kind="state")]
    assert "The database was away for longer than the lease" in reasons


def test_no_descriptor_is_leaked(worker, submit, engine_processes):
    submit(spec={"echo": "warm"})
    tasks.run_next("cpu")
    before = open_descriptors()
    for spec in ({"echo": "x"}, {"fail": "crash"}, {"fail": "error"}):
        submit(spec=spec)
    tasks.run_next("cpu")
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    """Pipes and event descriptors of this process: what an attempt opens; connections come and go."""
    kinds = [
        os.readlink(entry.path).partition(":")[0] for entry in os.scandir("/proc/self/fd") if os.path.islink(entry)
    ]
    return sorted(kind for kind in kinds if kind in ("pipe", "anon_inode"))


def test_damaged_input_fails_job(worker, submit):
    parent = submit(spec={"echo": "bytes"})
    tasks.run_next("cpu")
    digest = parent.outputs.get(slot="echo").artifact_id
    child = submit(inputs=[services.InputSpec(slot="x", digest=digest)])
    damage(digest)
    tasks.run_next("cpu")
    child.refresh_from_db()
    assert (child.state, child.error["code"]) == (JobState.FAILED, "artifact_damaged")


def damage(digest: str) -> None:
    from apps.platform.artifacts.stores import get_store

    path = get_store().path_of(digest)
    path.chmod(0o600)
    path.write_bytes(b"other")


def test_thread_with_work_wakes_one_more(worker, submit, monkeypatch):
    jobs = [submit() for _ in range(3)]
    rung = []
    monkeypatch.setattr(doorbell, "ring", rung.append)
    assert tasks.run_next("cpu") == len(jobs)
    assert rung == ["cpu"]


def test_fault_in_wake_next_costs_no_job(worker, submit, monkeypatch):
    def away(**_):
        raise OperationalError("away")

    job = submit()
    monkeypatch.setattr(services, "ring_again", away)
    assert tasks.run_next("cpu") == 1
    assert Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED


def test_machine_code_from_another_job_is_refused(worker, submit):
    """The submission saw only a slot to be filled; the worker sees the bytes."""
    parent = submit(spec={"echo": "\x7fELF" + "\0" * 60})
    echo = {"job_id": parent.pk, "job_slot": "echo"}
    inputs = [services.InputSpec(slot=slot, **echo) for slot in ("model", "manifest", "table")]
    child = submit(kind="evaluate", inputs=inputs)
    tasks.run_next("cpu")
    child.refresh_from_db()
    assert (child.state, child.error["code"], child.attempt) == (JobState.FAILED, "foreign_code", 1)
