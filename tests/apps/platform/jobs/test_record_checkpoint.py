"""One checkpoint a job: the newest, held by the fence, gone with the job's end."""

from __future__ import annotations

import copy

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import Refused, StaleState
from apps.platform.jobs import services
from apps.platform.jobs.checkpoints import get_checkpoint, get_checkpoint_area
from apps.platform.jobs.models import Job, JobCheckpoint

pytestmark = [pytest.mark.django_db, pytest.mark.services]
OLD, NEW = sha256_hex(b"old"), sha256_hex(b"new")


@pytest.fixture
def commit(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


def kept(job: Job, *attempts: int) -> list[list[str]]:
    """Of each attempt, which of the two byte strings lie in the store."""
    return [
        [name for name, digest in (("old", OLD), ("new", NEW)) if get_checkpoint_area(job.pk, n).exists(digest)]
        for n in attempts
    ]


def test_a_newer_one_replaces_the_row_and_the_bytes(running, keep_checkpoint):
    keep_checkpoint(running, 100, b"old")
    row = keep_checkpoint(running, 200, b"new")
    assert (row.step, row.digest, row.size, row.attempt) == (200, NEW, 3, 1)
    assert JobCheckpoint.objects.count() == 1
    assert kept(running, 1) == [["new"]]


def test_the_same_bytes_again_stay(running, keep_checkpoint):
    keep_checkpoint(running, 100, b"old")
    keep_checkpoint(running, 100, b"old")
    assert kept(running, 1) == [["old"]]


def test_one_of_the_next_attempt_takes_what_the_former_left(running, claim, fail, keep_checkpoint):
    keep_checkpoint(running, 100, b"old")
    fail(running, retry=True)
    Job.objects.filter(pk=running.pk).update(not_before=None)
    again = claim()
    keep_checkpoint(again, 150, b"old")  # bit for bit the same: another object all the same
    assert (again.attempt, kept(again, 1, 2)) == (2, [[], ["old"]])


@pytest.mark.parametrize("change", [{"attempt": 9}, {"owner": "w2"}])
def test_a_stale_attempt_replaces_nothing(running, keep_checkpoint, change):
    keep_checkpoint(running, 100, b"old")
    stale = copy.copy(running)
    vars(stale).update(change)
    with pytest.raises(StaleState):
        keep_checkpoint(stale, 200, b"new")
    assert (get_checkpoint(running).step, kept(running, 1)) == (100, [["old"] + ["new"] * ("owner" in change)])


def test_it_takes_a_worker(running, actor_for, engineer):
    with pytest.raises(Refused):
        services.record_checkpoint(actor=actor_for(engineer), job=running, step=1, digest=OLD, size=3)


def test_it_goes_when_the_job_succeeds(running, keep_checkpoint, succeed, commit):
    keep_checkpoint(running, 100, b"old")
    with commit():
        succeed(running)
    assert (get_checkpoint(running), kept(running, 1)) == (None, [[]])


@pytest.mark.parametrize("when", ["running", "queued"])
def test_it_goes_when_the_job_is_cancelled(
    running, keep_checkpoint, fail, worker_actor, actor_for, engineer, commit, when
):
    keep_checkpoint(running, 100, b"old")
    if when == "queued":
        fail(running, retry=True)
    with commit():
        services.cancel_job(actor=actor_for(engineer), job=running)
        if when == "running":
            services.end_cancelled(actor=worker_actor, job=running)
    assert (get_checkpoint(running), kept(running, 1)) == (None, [[]])


def test_it_stays_when_the_job_fails_and_through_a_retry(running, keep_checkpoint, fail, actor_for, engineer, commit):
    keep_checkpoint(running, 100, b"old")
    with commit():
        fail(running)
        services.retry_job(actor=actor_for(engineer), job=running)
    assert (get_checkpoint(running).step, kept(running, 1)) == (100, [["old"]])


def test_the_end_takes_bytes_that_a_killed_attempt_stored_and_never_told_of(
    running, claim, fail, succeed, keep_checkpoint, commit
):
    keep_checkpoint(running, 100, b"old")
    JobCheckpoint.objects.all().delete()
    fail(running, retry=True)
    Job.objects.filter(pk=running.pk).update(not_before=None)
    with commit():
        succeed(claim())
    assert kept(running, 1) == [[]]


def test_a_store_that_is_away_does_not_undo_the_end(running, keep_checkpoint, succeed, commit, monkeypatch):
    keep_checkpoint(running, 100, b"old")
    monkeypatch.setattr("apps.platform.artifacts.local_store.LocalStore._clear", lambda _: 1 / 0)
    with commit():
        succeed(running)
    assert (get_checkpoint(running), kept(running, 1)) == (None, [["old"]])
