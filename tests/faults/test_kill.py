"""kill -9 of each process in the middle of a job: it ends exactly once, with right outputs, and nothing is orphaned."""

from __future__ import annotations

import pytest

from tests.faults.running import manage
from tests.faults.spec import SPEC

VICTIMS = ["engine", "shim", "worker", "dispatcher", "web", "launcher"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_loses_nothing(running, victim, expected_outputs):
    job = running.submit(kind="noop", spec=SPEC)
    child = running.submit(kind="noop", spec={"echo": "after"}, inputs={"from": {"job": job, "slot": "echo"}})
    running.in_the_middle(job, done=5)
    running.kill(victim, job)
    if victim == "launcher":
        running.start()
    ended = running.plane.wait(job, seconds=60)
    after = running.plane.wait(child, seconds=30)

    assert (ended["state"], after["state"]) == ("succeeded", "succeeded")
    assert {o["slot"]: o["digest"] for o in ended["outputs"]} == expected_outputs
    assert after["result"]["inputs"]["from"] == expected_outputs["echo"]
    assert [running.marked(number) for number in (job, child)] == [[], []]
    assert_ended_once(running, job)


def test_the_dispatcher_alone_recovers_what_a_dead_worker_held(running):
    job = running.submit(kind="noop", spec={"seconds": 3.0, "steps": 30})
    running.in_the_middle(job, done=3)
    running.kill("worker", job)
    ended = running.plane.wait(job, seconds=60)
    assert ended["state"] == "succeeded"
    assert ended["attempt"] == "2 of 3"


def test_a_clean_job_whose_worker_dies_registers_one_version(running):
    table = "day,price\n" + "\n".join(f"{n},{'' if n % 7 == 0 else n * 0.5}" for n in range(400_000)) + "\n"
    version = running.plane.call("POST", "/datasets/raw/versions", table.encode(), headers={"Content-Type": "text/csv"})
    body = {"kind": "clean", "spec": {"window_size": 51}, "register": {"dataset": "clean"}}
    job = running.plane.post(f"/datasets/raw/versions/{version['number']}/jobs", body)["id"]
    running.in_the_middle(job, done=1)
    running.kill("worker", job)
    assert running.plane.wait(job, seconds=60)["state"] == "succeeded"
    assert len(running.plane.get("/datasets/clean/versions")["items"]) == 1
    assert_ended_once(running, job)


def assert_ended_once(running, job: int) -> None:
    """One record of the end in the trail, a whole chain, and no scratch left."""
    running.stop()
    assert list((running.home / "scratch").glob("*/*")) == []
    check = manage(running.home, running.environment, "verify_audit", "--json")
    assert check.returncode == 0, check.stdout + check.stderr
    actions = running.ask(
        "import json; from apps.audit.models import AuditRecord;"
        f"found = AuditRecord.objects.filter(object_type='job', object_id='{job}');"
        "print(json.dumps(list(found.values_list('action', flat=True))))"
    )
    assert actions.count("job.succeeded") == 1
    assert actions.count("job.submit") == 1
