"""A sweep of twenty trials whose dispatcher and worker are killed on the way."""

from __future__ import annotations

import time

from tests.faults.running import PATIENCE

TRIALS = 20
SWEEP = {
    "kind": "noop",
    "name": "killed",
    "space": [{"type": "float", "name": "/value", "low": 0.0, "high": 1.0}],
    "metric": "value",
    "trials": TRIALS,
    "parallel": 4,
    "startup_trials": 17,
}


def test_a_killed_sweep_goes_on_to_exactly_its_trials(shared):
    sweep = shared.plane.post("/sweeps", SWEEP)["id"]
    for victim, ended in (("dispatcher", 2), ("worker", 8)):
        wait_until(shared, sweep, lambda found, ended=ended: found["counts"]["succeeded"] >= ended)
        shared.kill(victim, 0)
    found = wait_until(shared, sweep, lambda found: found["state"] != "running")
    assert (found["state"], found["counts"]["succeeded"]) == ("succeeded", TRIALS)
    trials = shared.plane.get(f"/sweeps/{sweep}/trials?limit=100")["items"]
    jobs = shared.plane.get("/jobs?kind=noop&limit=100")["items"]
    assert [trial["number"] for trial in trials] == [*range(TRIALS)]
    assert {trial["job"] for trial in trials} == {job["id"] for job in jobs}
    assert len({trial["run"] for trial in trials}) == TRIALS
    assert found["best"]["objective"] == min(trial["values"]["/value"] for trial in trials)


def wait_until(plane, sweep: int, condition) -> dict:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = plane.patient(lambda: plane.plane.get(f"/sweeps/{sweep}"))
        if condition(found):
            return found
        assert time.monotonic() < deadline, found
        assert found["state"] == "running", found
        time.sleep(0.1)
