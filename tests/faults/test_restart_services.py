"""Redis and PostgreSQL are killed and restarted in the middle of a job; the plane neither loses nor doubles it."""

from __future__ import annotations

import time

import pytest

from tests.faults.conftest import start_plane
from tests.faults.running import PATIENCE
from tests.faults.spec import SPEC
from tests.faults.test_kill import assert_ended_once


@pytest.mark.parametrize("which", ["postgres", "redis"])
def test_job_survives_restart_of_service(running, services, which, expected_outputs):
    server = services[0 if which == "postgres" else 1]
    job = running.submit(kind="noop", spec=SPEC)
    running.in_the_middle(job, done=5)
    server.stop(hard=True)
    time.sleep(1.0)
    server.start()
    ended = running.patient(lambda: running.plane.wait(job, seconds=PATIENCE))
    assert ended["state"] == "succeeded"
    assert {o["slot"]: o["digest"] for o in ended["outputs"]} == expected_outputs
    assert running.marked(job) == []
    after = running.patient(lambda: running.submit(kind="noop", spec={}))
    assert running.patient(lambda: running.plane.wait(after, seconds=PATIENCE))["state"] == "succeeded"
    assert_ended_once(running, job)


@pytest.fixture
def impatient(tmp_path, template, services):
    """A plane whose leases are short."""
    plane = start_plane(tmp_path / "home", template, services, LEASE_SECONDS="4")
    yield plane
    plane.kill_everything()


def test_database_away_for_longer_than_the_lease_requeues_once(impatient, services, expected_outputs):
    """The worker must give up what it can no longer prove to hold; somebody runs it again, once."""
    running = impatient
    job = running.submit(kind="noop", spec=SPEC)
    running.in_the_middle(job, done=3)
    services[0].stop(hard=True)
    time.sleep(9.0)
    services[0].start()
    ended = running.patient(lambda: running.plane.wait(job, seconds=PATIENCE))
    assert ended["state"] == "succeeded"
    assert {o["slot"]: o["digest"] for o in ended["outputs"]} == expected_outputs
    assert_ended_once(running, job)
