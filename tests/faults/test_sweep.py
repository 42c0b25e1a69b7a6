"""Sweeps on a real plane: one whose dispatcher and worker are killed on the way, one of trainings, one of scripts."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile

import pytest

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

TABLE = "width,height,area\n" + "".join(f"{n % 7},{n % 5},{n % 7 * (n % 5)}\n" for n in range(60))
TRAINING = {"task": "regression", "target": "area", "hidden": [4], "epochs": 1, "schedule": {"init_lr": 1e-5}}
SCRIPT = """
import json, os, sys, urllib.request
value = abs(float(sys.argv[1]) - 0.5)
point = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "distance", "value": value, "timestamp": 0}
request = urllib.request.Request(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric",
    json.dumps(point).encode(),
    {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"},
)
urllib.request.urlopen(request).read()
"""


def store(plane, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    plane.plane.call("PUT", f"/artifacts/{digest}", data, headers={"Content-Type": "application/octet-stream"})
    return digest


def store_code(plane) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("measure.py", SCRIPT)
    return store(plane, archive.getvalue())


@pytest.mark.once_on_sqlite  # what a trial runs; how trials are claimed is the other test's
@pytest.mark.parametrize("kind", ["train", "script"])
def test_the_best_of_three_trials_is_told(shared, kind):
    bodies = {
        "train": {
            "spec": TRAINING,
            "inputs": {"table": {"digest": store(shared, TABLE.encode())}},
            "space": [{"type": "float", "name": "/schedule/max_lr", "low": 1e-4, "high": 1e-1, "log": True}],
            "metric": "validation_loss",
        },
        "script": {
            "spec": {"command": ["python", "measure.py", "{place}"]},
            "inputs": {"code": {"digest": store_code(shared)}},
            "space": [{"type": "float", "name": "place", "low": 0.0, "high": 1.0}],
            "metric": "distance",
        },
    }
    body = {"kind": kind, "name": "three", "trials": 3, "parallel": 3, "startup_trials": 3, **bodies[kind]}
    sweep = shared.plane.post("/sweeps", body)["id"]
    found = wait_until(shared, sweep, lambda found: found["state"] != "running")
    trials = shared.plane.get(f"/sweeps/{sweep}/trials?limit=100")["items"]
    assert (found["state"], found["counts"]["succeeded"]) == ("succeeded", 3), trials
    assert found["best"]["objective"] == min(trial["objective"] for trial in trials)
    assert len({trial["objective"] for trial in trials}) == 3


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
