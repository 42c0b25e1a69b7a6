from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.jobs import services
from apps.platform.jobs.models import Job


def test_jobs_that_are_left_wake_one_more_thread(submit, claim, worker_actor, rung):
    submit(), submit()
    claim()
    rung.clear()
    services.ring_again(actor=worker_actor, queue="cpu")
    assert rung == ["cpu"]


@pytest.mark.parametrize("queue", ["cpu", "gpu"])
def test_an_empty_queue_is_not_rung(queue, submit, claim, worker_actor, rung):
    submit()
    claim()
    rung.clear()
    services.ring_again(actor=worker_actor, queue=queue)
    assert rung == []


def test_a_job_that_pauses_wakes_nobody(submit, worker_actor, rung):
    Job.objects.filter(pk=submit().pk).update(not_before=timezone.now() + timedelta(minutes=1))
    rung.clear()
    services.ring_again(actor=worker_actor, queue="cpu")
    assert rung == []


def test_only_a_worker_rings_again(actor_for, engineer, project):
    with pytest.raises(Refused):
        services.ring_again(actor=actor_for(engineer), queue="cpu")
