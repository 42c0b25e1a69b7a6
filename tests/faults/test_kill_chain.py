"""kill -9 of each process in the middle of training, quantizing and compiling, and all through a pipeline.

A training goes on and makes bit for bit what it would have made; nothing is registered twice. One plane for the whole
module; what must hold of every job at once is looked at by the last test. The default run kills a worker in the middle
of a training and an engine in the middle of quantizing and compiling; each process is killed in test_kill.py, and in
each of these jobs by `make test-faults-full`.
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from pathlib import Path

import psutil
import pytest

from deepseek.job import Result, Silent
from deepseek.quantize.run import run as quantize
from deepseek.quantize.spec import QuantizeSpec
from deepseek.train.run import run as train
from deepseek.train.spec import TrainSpec
from tests.faults.running import PATIENCE, manage
from tests.faults.test_kill import VICTIMS

pytestmark = pytest.mark.once_on_sqlite  # checkpoints and engines; claims after a kill are those of test_kill.py
TABLE = "day,price\n" + "".join(f"{n},{50 + 10 * math.sin(n / 9) + n % 7 / 3}\n" for n in range(2000))
TRAIN = {"task": "forecast", "target": "price", "hidden": [16], "epochs": 60, "patience": 0, "checkpoint_every": 50}
QUANTIZE = {"batches": [1], "runs": 15_000, "candidates": ["int8"]}  # long enough to be caught while it measures
COMPILE = {"trials": 4, "runs": 50_000}
KILLS = 6
ATTEMPTS = {"engine": 2, "shim": 2, "worker": 2, "launcher": 2, "dispatcher and web": 1}


def victims(default: str) -> list:
    """Every victim as a parameter; all but one only in the full matrix."""
    full = pytest.mark.full_matrix
    return [pytest.param(name, marks=[] if name == default else full) for name in ATTEMPTS]


class Recorder(Silent):
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
    recorder = Recorder()
    spec, inputs = TrainSpec.model_validate(TRAIN), {"table": folder / "table.csv"}
    result = train(spec, inputs=inputs, out=folder / "out", report=recorder)
    return digests_of(result, folder / "out"), recorder.points, folder / "out"


def digests_of(result: Result, out: Path) -> dict[str, str]:
    return {o.slot: hashlib.sha256((out / o.path).read_bytes()).hexdigest() for o in result.outputs}


@pytest.fixture(scope="module")
def quantized(undisturbed, tmp_path_factory) -> set[str]:
    """The quantizing by hand: the digests of its forms. Which of them is recommended depends on the times."""
    out = tmp_path_factory.mktemp("quantized") / "out"
    model = undisturbed[2]
    inputs = {"model": model / "model.safetensors", "manifest": model / "model.json"}
    inputs["heldout"] = model / "heldout.safetensors"
    spec = QuantizeSpec.model_validate(QUANTIZE | {"runs": 10})
    made = digests_of(quantize(spec, inputs=inputs, out=out, report=Silent()), out)
    return {made["exported"], made["model"], made.get("int8_dynamic", made["exported"])}


@pytest.fixture(scope="module")
def jobs():
    """Every job of this module, by what was killed."""
    return {}


@pytest.fixture(scope="module")
def table(shared) -> str:
    return store(shared, TABLE.encode())


def store(plane, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    plane.plane.call("PUT", f"/artifacts/{digest}", data, headers={"Content-Type": "application/octet-stream"})
    return digest


@pytest.fixture(scope="module")
def model(shared, undisturbed) -> dict[str, dict[str, str]]:
    """The trained model as the inputs of a job."""
    made, _, folder = undisturbed
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.iterdir() if path.is_file()}
    return {
        slot: {"digest": store(shared, files[made[slot]].read_bytes())} for slot in ("model", "manifest", "heldout")
    }


@pytest.mark.parametrize("victim", victims("worker"))
def test_training_resumes_and_makes_the_same_bytes(shared, jobs, table, undisturbed, victim):
    job = jobs["train", victim] = shared.submit(kind="train", spec=TRAIN, inputs={"table": {"digest": table}})
    step = shared.checkpointed(job)["checkpoint"]["step"]
    kill(shared, victim, job)
    ended = shared.plane.wait(job, seconds=PATIENCE)
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert {o["slot"]: o["digest"] for o in ended["outputs"]} == undisturbed[0]
    assert (shared.marked(job), ended["checkpoint"]) == ([], None)
    log = shared.log(job)
    assert len(resumed_at(log)) == ATTEMPTS[victim] - 1, log
    assert all(at >= step > 0 for at in resumed_at(log))


def kill(plane, victim: str, *jobs: int) -> None:
    for name in victim.split(" and "):
        for job in jobs if name in ("engine", "shim") else jobs[:1]:
            plane.kill(name, job)
        if name == "launcher":
            plane.start()


def resumed_at(lines: list[str]) -> list[int]:
    """The steps that the engine says it goes on from."""
    said = "goes on from the checkpoint of step "
    return [int(line.removeprefix(said)) for line in lines if line.startswith(said)]


@pytest.mark.parametrize("victim", victims("engine"))
def test_quantize_and_compile_are_done_once(shared, jobs, model, quantized, victim):
    compiling = jobs["compile", victim] = shared.submit(kind="compile", spec=COMPILE, inputs=model)
    shared.at_stage(compiling, "lower", "tune", "build", "compare", "measure")
    quantizing = jobs["quantize", victim] = shared.submit(kind="quantize", spec=QUANTIZE, inputs=model)
    shared.at_stage(quantizing, "measure")
    assert shared.plane.get(f"/jobs/{compiling}")["state"] == "running"
    kill(shared, victim, quantizing, compiling)
    smaller, faster = (shared.plane.wait(job, seconds=PATIENCE) for job in (quantizing, compiling))
    assert [(job["state"], job["error"]) for job in (smaller, faster)] == [("succeeded", None)] * 2
    assert quantized <= {o["digest"] for o in smaller["outputs"]}
    slots = ["bundle", "figures", "manifest", "model", "schedules", "verification"]
    assert sorted(o["slot"] for o in faster["outputs"]) == slots
    assert [shared.marked(job) for job in (quantizing, compiling)] == [[], []]


@pytest.mark.full_matrix
def test_pipeline_hit_again_and_again_registers_one_version(shared, jobs, table):
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    pipeline = shared.plane.post("/pipelines", {"name": f"seed {seed}", "steps": steps_of(table)})["id"]
    for victim in dice.choices(VICTIMS, k=KILLS):
        time.sleep(dice.uniform(0.5, 3.0))
        hit(shared, victim)
    ended = shared.plane.wait_for(f"/pipelines/{pipeline}", seconds=PATIENCE)
    assert ended["state"] == "succeeded", ended
    jobs.update({(step["name"], "any"): step["job"] for step in ended["steps"]})
    (version,) = shared.plane.get("/models/price/versions")["items"]
    variants = shared.plane.get(f"/models/price/versions/{version['number']}")["variants"]
    trained, quantized, compiled = (variant["name"] for variant in variants)
    assert (trained, compiled.partition("-")[0]) == ("fp32", "tvm")
    assert quantized in ("int8", "fp32-torchscript")  # whichever was faster
    assert len(shared.plane.get("/datasets/clean/versions")["items"]) == 1


def hit(plane, victim: str) -> None:
    """Kill one process; of an engine or shim, that of a job which runs now, if one does."""
    running = plane.patient(lambda: plane.plane.get("/jobs", state="running", limit=1))["items"]
    try:
        plane.kill(victim, running[0]["id"] if running else 0)
    except (StopIteration, IndexError, psutil.NoSuchProcess):  # none runs, or it was about to end
        return
    if victim == "launcher":
        plane.start()


def steps_of(table: str) -> list[dict]:
    """The chain from a table to a model version; each job may be hit by every kill."""
    trained = inputs_of("train", model="model", manifest="manifest", heldout="heldout")
    forms = inputs_of("train", fp32="model", fp32_manifest="manifest", fp32_figures="figures")
    forms |= inputs_of("quantize", int8="model", int8_manifest="manifest", int8_figures="figures")
    forms |= inputs_of("compile", compiled="model", compiled_manifest="manifest", compiled_figures="figures")
    steps = [
        {"kind": "clean", "inputs": {"table": {"digest": table}}, "register": {"dataset": "clean"}},
        {"kind": "train", "spec": TRAIN, "inputs": inputs_of("clean", table="table")},
        {"kind": "quantize", "spec": QUANTIZE, "inputs": trained},
        {"kind": "compile", "spec": COMPILE, "inputs": trained},
        {"kind": "register", "inputs": forms, "register": {"model": "price"}},
    ]
    return [{**step, "name": step["kind"], "max_attempts": 3 + KILLS} for step in steps]


def inputs_of(step: str, **slots: str) -> dict[str, dict[str, str]]:
    return {here: {"step": step, "slot": there} for here, there in slots.items()}


def test_every_job_ended_once_and_left_nothing(shared, jobs, table, undisturbed):
    """Each ended once, reported each point once, and left nothing behind; the audit trail is valid."""
    if not jobs:  # alone
        job = jobs["train", "nobody"] = shared.submit(kind="train", spec=TRAIN, inputs={"table": {"digest": table}})
        shared.plane.wait(job, seconds=PATIENCE)
    shared.stop()
    left = [*(shared.home / "scratch").glob("*/*"), *(shared.home / "artifacts" / "checkpoints").glob("*")]
    assert left == []
    check = manage(shared.home, shared.environment, "verify_audit", "--json")
    assert check.returncode == 0, check.stdout + check.stderr
    facts = shared.ask(ASK % list(jobs.values()))
    expected = [point for point in undisturbed[1] if not point[0].startswith("system/")]  # those tell of a machine
    reported = {name for name, _, _ in expected}
    for (kind, victim), job in jobs.items():
        actions, points, first = facts[str(job)]
        assert [actions.count(f"job.{name}") for name in ("submit", "succeeded")] == [1, 1]
        if kind == "train" and victim != "any":
            assert sorted(p for p in points if p[0] in reported) == sorted(expected)
            assert ATTEMPTS.get(victim) != 2 or first > TRAIN["checkpoint_every"]


ASK = """
import json
from apps.platform.audit.models import AuditRecord
from apps.ml.experiments.models import MetricPoint
from apps.platform.jobs.models import JobEvent
facts = {}
for job in %r:
    records = AuditRecord.objects.filter(object_type="job", object_id=job).values_list("action", flat=True)
    points = MetricPoint.objects.filter(metric__run__job=job).values_list("metric__key", "step", "value")
    again = JobEvent.objects.filter(job=job, kind="metric", attempt=2).values_list("payload", flat=True)
    first = min((point["step"] for payload in again for point in payload["points"]), default=0)
    facts[job] = list(records), list(points), first
print(json.dumps(facts))
"""
