"""What a fault left between the store and the database is removed later, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.checkpoints import (
    AREA,
    FAILED_RETENTION,
    get_checkpoint,
    get_checkpoint_area,
    sweep_checkpoints,
)
from apps.platform.jobs.models import Job, JobCheckpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def areas():
    return lambda: get_store().area(AREA).areas()


def test_what_runs_and_what_may_be_tried_again_stays(
    running, submit, claim, fail, keep_checkpoint, worker_actor, areas
):
    keep_checkpoint(running)
    JobCheckpoint.objects.all().delete()  # stored, and not told of yet
    submit()
    failed = claim()
    keep_checkpoint(failed)
    fail(failed)
    assert sweep_checkpoints(actor=worker_actor) == 0
    assert areas() == [f"{running.pk}-1", f"{failed.pk}-1"]


@pytest.mark.parametrize("how", ["ended", "another attempt", "no job"])
def test_bytes_that_nobody_will_go_on_from_go(running, succeed, keep_checkpoint, worker_actor, areas, how):
    keep_checkpoint(running)
    JobCheckpoint.objects.all().delete()
    if how == "ended":
        succeed(running)
    elif how == "another attempt":
        Job.objects.filter(pk=running.pk).update(attempt=2)
    else:
        get_checkpoint_area(10**9, 1).open_staging().publish()
        Job.objects.filter(pk=running.pk).update(state="queued")
    assert sweep_checkpoints(actor=worker_actor) >= 1
    assert areas() == []


def test_a_job_that_failed_long_ago_starts_afresh(running, fail, keep_checkpoint, worker_actor, areas):
    keep_checkpoint(running)
    fail(running)
    Job.objects.filter(pk=running.pk).update(ended_at=timezone.now() - FAILED_RETENTION - timedelta(minutes=1))
    assert sweep_checkpoints(actor=worker_actor) == 1
    assert (get_checkpoint(running), areas()) == (None, [])


def test_a_folder_of_somebody_else_is_left_alone(running, keep_checkpoint, worker_actor, areas):
    get_store().area(AREA, "notes").open_staging().publish()
    assert sweep_checkpoints(actor=worker_actor) == 0
    assert areas() == ["notes"]


def test_it_takes_a_worker_or_an_operator(actor_for, engineer):
    with pytest.raises(Refused):
        sweep_checkpoints(actor=actor_for(engineer))
