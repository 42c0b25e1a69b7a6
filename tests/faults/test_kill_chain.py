"""kill -9 of each process in the middle of a training: it goes on, and makes bit for bit what it would have made.

One plane for the whole module; what must hold of every job at once is looked at by the last test.
"""

from __future__ import annotations

import hashlib
import math

import pytest

from deepseek.job import Silent
from deepseek.train.run import run as train
from deepseek.train.spec import TrainSpec
from tests.faults.running import manage
from tests.faults.test_kill import VICTIMS

TABLE = "day,price\n" + "".join(f"{n},{50 + 10 * math.sin(n / 9) + n % 7 / 3}\n" for n in range(2000))
TRAIN = {"task": "forecast", "target": "price", "hidden": [16], "epochs": 60, "patience": 0, "checkpoint_every": 50}
ATTEMPTS = {"engine": 2, "shim": 2, "worker": 2, "dispatcher": 1, "web": 1, "launcher": 2}


class Told(Silent):
    """The metrics of a run, in order."""

    def __init__(self):
        self.points = []

    def metric(self, name, value, step=0):
        self.points.append([name, step, value])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The training by hand, with no plane: (slot -> digest, metrics, folder)."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "table.csv").write_text(TABLE)
    told = Told()
    spec, inputs = TrainSpec.model_validate(TRAIN), {"table": folder / "table.csv"}
    result = train(spec, inputs=inputs, out=folder / "out", report=told)
    made = {o.slot: hashlib.sha256((folder / "out" / o.path).read_bytes()).hexdigest() for o in result.outputs}
    return made, told.points, folder / "out"


@pytest.fixture(scope="module")
def jobs():
    """Every job of this module, by what was killed."""
    return {}


@pytest.fixture(scope="module")
def table(shared) -> str:
    return store(shared, TABLE.encode())


def store(plane, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    plane.plane.call("PUT", f"/artifacts/{digest}", data, headers={"Content-Type": "text/csv"})
    return digest


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_training_goes_on_and_makes_the_same(shared, jobs, table, undisturbed, victim):
    job = jobs[victim] = shared.submit(kind="train", spec=TRAIN, inputs={"table": {"digest": table}})
    step = shared.checkpointed(job)["checkpoint"]["step"]
    shared.kill(victim, job)
    if victim == "launcher":
        shared.start()
    ended = shared.plane.wait(job, seconds=90)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert {o["slot"]: o["digest"] for o in ended["outputs"]} == undisturbed[0]
    assert (shared.marked(job), ended["checkpoint"]) == ([], None)
    log = shared.log(job)
    assert len(resumed_at(log)) == ATTEMPTS[victim] - 1, log
    assert all(at >= step > 0 for at in resumed_at(log))


def resumed_at(lines: list[str]) -> list[int]:
    """The steps that the engine says it goes on from."""
    said = "goes on from the checkpoint of step "
    return [int(line.removeprefix(said)) for line in lines if line.startswith(said)]


def test_what_is_left_of_all_of_them(shared, jobs, table, undisturbed):
    """Each ended once, reported each point once, and left nothing behind; the trail is whole."""
    if not jobs:
        jobs["nobody"] = shared.submit(kind="train", spec=TRAIN, inputs={"table": {"digest": table}})
        shared.plane.wait(jobs["nobody"], seconds=60)
    shared.stop()
    left = [*(shared.home / "scratch").glob("*/*"), *(shared.home / "artifacts" / "checkpoints").glob("*")]
    assert left == []
    check = manage(shared.home, shared.environment, "verify_audit", "--json")
    assert check.returncode == 0, check.stdout + check.stderr
    reported = {name for name, _, _ in undisturbed[1]}
    for victim, facts in shared.ask(ASK % jobs).items():
        assert [facts["actions"].count(f"job.{name}") for name in ("submit", "succeeded")] == [1, 1]
        assert sorted(p for p in facts["points"] if p[0] in reported) == sorted(undisturbed[1])
        if ATTEMPTS.get(victim) == 2:
            assert facts["first"] > TRAIN["checkpoint_every"]  # steps that the second attempt reported


ASK = """
import json
from apps.audit.models import AuditRecord
from apps.experiments.models import MetricPoint
from apps.jobs.models import JobEvent
facts = {}
for victim, job in %r.items():
    records = AuditRecord.objects.filter(object_type="job", object_id=job).values_list("action", flat=True)
    points = MetricPoint.objects.filter(metric__run__job=job).values_list("metric__key", "step", "value")
    again = JobEvent.objects.filter(job=job, kind="metric", attempt=2).values_list("payload", flat=True)
    first = min((point["step"] for payload in again for point in payload["points"]), default=0)
    facts[victim] = {"actions": list(records), "points": list(points), "first": first}
print(json.dumps(facts))
"""
