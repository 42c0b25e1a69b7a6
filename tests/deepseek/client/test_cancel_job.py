from __future__ import annotations

import pytest

from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


def test_queued_job_is_cancelled_at_once(cli, submit):
    job = submit()
    run = cli("cancel", job.pk, "--reason", "not needed")
    assert (run.returncode, f"job {job.pk}: cancelled" in run.stderr) == (0, True)
    cancelled = Job.objects.get(pk=job.pk)
    assert (cancelled.state, cancelled.cancel_reason) == ("cancelled", "not needed")


def test_running_job_is_asked_to_stop(cli, running):
    run = cli("cancel", running.pk)
    assert (run.returncode, "its worker is told" in run.stderr) == (0, True)
    assert Job.objects.get(pk=running.pk).cancel_requested_at


def test_job_that_has_ended(cli, running, succeed, say_end):
    succeed(running)
    say_end(cli("cancel", running.pk), 2, "has ended already")


def test_who_may_not(cli, submit, viewer, stranger, say_end):
    job = submit()
    for who in (viewer, stranger):
        say_end(cli("cancel", job.pk, who=who), 2)
    assert Job.objects.get(pk=job.pk).state == "queued"
