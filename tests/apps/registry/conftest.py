"""Versions of a model, registered by the service that registers them in life, from jobs that were never run."""

from __future__ import annotations

import json
from itertools import count

import pytest

from apps.accounts.proofs import Proof
from apps.approvals.services import approve
from apps.artifacts.models import Artifact, Holding
from apps.artifacts.store import store
from apps.datasets.manifest import PARQUET
from apps.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.experiments.models import Experiment, LoggedModel, LoggedModelArtifact, Run
from apps.jobs.models import Job, JobInput, JobOutput
from apps.registry.documents import document_text
from apps.registry.services import create_client_model, record_version, register_version, request_promotion
from apps.registry.services.evaluations import create_evaluation_set, set_gate
from tests.apps.registry.measured import write_evaluation

RMSE = {"name": "rmse", "value": 1.5, "low": 1.2, "high": 1.8, "confidence": 0.95, "better": "lower", "unit": "USD"}
FORMATS = {"fp32": "safetensors", "int8": "torchscript", "tvm-x86_64": "tvm"}
SLOTS = {"fp32": "fp32", "int8": "int8", "tvm-x86_64": "compiled"}
KINDS = {"int8": "quantize", "tvm-x86_64": "compile"}
numbers = count(1)


@pytest.fixture(autouse=True)
def _own_store(settings, tmp_path):
    """Tests that spoil bytes must not spoil those of others."""
    settings.PLANE_HOME = tmp_path


@pytest.fixture
def held(project):
    """held(bytes, where=project, name=...) -> an Artifact whose bytes are in the store."""

    def put(data, where=None, name="it"):
        with store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=where or project, artifact=artifact, defaults={"name": name})
        return artifact

    return put


@pytest.fixture
def job_of(project):
    """job_of(kind, inputs={slot: artifact or (job, artifact)}, outputs={slot: artifact}) -> a job that has ended."""

    def make(kind, inputs=(), outputs=(), where=None):
        facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
        job = Job.objects.create(project=where or project, kind=kind, state="succeeded", requester="engineer", **facts)
        for slot, given in dict(inputs).items():
            source, artifact = given if isinstance(given, tuple) else (None, given)
            JobInput.objects.create(job=job, slot=slot, artifact=artifact, source_job=source)
        for slot, artifact in dict(outputs).items():
            JobOutput.objects.create(job=job, slot=slot, artifact=artifact, name=f"{slot}.bin", media_type="x/y")
        return job

    return make


@pytest.fixture
def run_for(project):
    """run_for(job) -> the run that is kept of it."""

    def make(job, where=None):
        experiment = Experiment.objects.get_or_create(
            project=where or project, number=0, defaults={"name": "Default", "created_by": "x"}
        )[0]
        facts = {"name": "r", "kind": job.kind, "state": "finished", "metrics_digest": "d" * 64}
        return Run.objects.create(project=where or project, experiment=experiment, job=job, **facts)

    return make


def rmse(value, low, high):
    return RMSE | {"value": value, "low": low, "high": high}


@pytest.fixture
def metric():
    """metric(1.5, 1.2, 1.8) -> a figure of a model with its interval; lower is better."""
    return rmse


def figures(variant, metrics, size, ratio):
    latency = {"batch": 1, "threads": 1, "runs": 200, "median_us": 10.0, "against": "fp32 eager"}
    shown = {"schema": "plane/figures/v1", "variant": variant, "rows": 40, "metrics": metrics, "size_bytes": size}
    baseline = {"name": "last value", "metrics": [rmse(2.0, 1.7, 2.3)]}
    derived = {"size_ratio": 2.0, "latency": [latency | {"against_median_us": 15.0, "ratio": ratio}]}
    return shown | {"notes": []} | ({"baseline": baseline} if variant == "fp32" else derived)


@pytest.fixture
def forms(held, job_of, run_for):
    """forms(...) -> (register job, outputs): what a register job of these forms was given and has made."""

    def make(names=("fp32", "int8"), metrics=None, seed=None, heldout=b"rows", note="", where=None, ratio=1.5):
        seed = next(numbers) if seed is None else seed
        rows_held = held(heldout, where)
        files = {name: held(f"{name} of {seed}".encode(), where, f"{name}.bin") for name in names}
        manifests = {name: held(f"manifest {name} {seed}".encode(), where, "model.json") for name in names}
        inputs = {}
        for name in names:
            kind, held_out = ("train", {"heldout": rows_held}) if name == "fp32" else (KINDS[name], {})
            parts = {"model": files[name], "manifest": manifests[name]}
            parts["figures"] = held(f"figures {name} {seed} {metrics} {ratio}".encode(), where, "figures.json")
            maker = job_of(kind, outputs=parts | held_out, where=where)
            run_for(maker, where)
            for ending, part in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures")):
                inputs[SLOTS[name] + ending] = (maker, parts[part])
        rows = [
            {
                "name": name,
                "slot": SLOTS[name],
                "format": FORMATS[name],
                "model": files[name].digest,
                "file": f"model.{name}",
                "size": files[name].size,
                "manifest": manifests[name].digest,
                "parent": None if name == "fp32" else manifests["fp32"].digest,
                "heldout": None if name == "fp32" else rows_held.digest,
                "machine": {"target": "x86-64"} if name.startswith("tvm") else {},
                "figures": figures(name, metrics or [RMSE], files[name].size, ratio),
            }
            for name in names
        ]
        document = document_of(rows, note)
        written = held(document_text(document).encode(), where, "version.json")
        job = job_of("register", inputs, where=where)
        return job, [("version", written, "version.json", "application/json", document)]

    return make


def document_of(rows, note=""):
    tensor = {"dtype": "float32", "shape": [-1, 2]}
    return {
        "schema": "plane/model-version/v1",
        "task": "forecast",
        "target": "close",
        "features": ["lag 1", "lag 2"],
        "classes": [],
        "signature": {"inputs": [{"name": "features", **tensor}], "outputs": [{"name": "prediction", **tensor}]},
        "architecture": {"type": "mlp", "hidden": [8]},
        "inputs": {"table": "e" * 64},
        "spec": {"task": "forecast", "target": "close", "seed": 0},
        "note": note,
        "variants": rows,
    }


@pytest.fixture
def registered(worker_actor, project, forms):
    """registered(..., name=...) -> the version that a new register job makes."""

    def register(name="wti-forecast", where=None, **more):
        job, outputs = forms(where=where, **more)
        chosen = where or project
        return register_version(actor=worker_actor, project=chosen, model_name=name, outputs=outputs, job=job)[0]

    return register


@pytest.fixture
def approved(actor_for, engineer, approver):
    """approved(version) -> the approval that has put it into production."""

    def promote(version):
        asked = request_promotion(actor=actor_for(engineer), version=version, comment="please")
        proof = Proof(user_id=approver.pk, method="password")
        digest = asked.facts_digest
        return approve(actor=actor_for(approver), approval=asked, facts_digest=digest, reason="good", proof=proof)

    return promote


@pytest.fixture
def spoil():
    """spoil(digest) puts other bytes where the store keeps these."""

    def write(digest):
        path = store().path_of(digest)
        path.chmod(0o600)
        path.write_bytes(b"other bytes")

    return write


@pytest.fixture
def document():
    return lambda version: json.loads(version.document)


# -- evaluations ----------------------------------------------------------------------------------------------------
@pytest.fixture
def dataset_version(project, held):
    """The version of a dataset whose table is Parquet, with the columns close and region."""
    made = Dataset.objects.create(project=project, name="later", created_by="x")
    table = held(b"a table")
    version = DatasetVersion.objects.create(
        dataset=made,
        number=1,
        digest="c" * 64,
        manifest="{}",
        media_type=PARQUET,
        size=7,
        columns=[{"name": name, "dtype": "double"} for name in ("close", "region")],
        created_by="x",
    )
    DatasetFile.objects.create(version=version, path="table.parquet", artifact=table, media_type=PARQUET)
    return version


@pytest.fixture
def a_set(actor_for, engineer, project, dataset_version):
    """a_set(name=..., ...) -> an evaluation set of forecasts of close."""

    def make(name="later", **asked):
        asked = {"task": "forecast", "target": "close"} | asked
        who = actor_for(engineer)
        return create_evaluation_set(actor=who, project=project, name=name, dataset_version=dataset_version, **asked)

    return make


@pytest.fixture
def gate(actor_for, approver):
    """gate(model, set, ...) -> the gate that an approver sets."""
    return lambda model, on, **asked: set_gate(actor=actor_for(approver), model=model, on=on, **asked)


@pytest.fixture
def measure(held):
    """measure(version, set, rmse, width=...) -> the evaluation of its trained variant."""

    def write(version, on, value, *more, **asked):
        return write_evaluation(held, version.variants.order_by("pk").first(), on, value, *more, **asked)

    return write


@pytest.fixture
def by_client(actor_for, engineer, project, held):
    """by_client(name=...) -> the next version of a model as a client registers it: a file, and no variant."""

    def make(name="wti-forecast", where=None):
        who, where = actor_for(engineer), where or project
        experiment = Experiment.objects.get_or_create(
            project=where, number=0, defaults={"name": "Default", "created_by": "x"}
        )[0]
        logged = LoggedModel.objects.create(project=where, experiment=experiment, name="net", created_by="engineer")
        file = held(f"pickle {next(numbers)}".encode(), where)
        facts = {"artifact": file, "size": file.size, "media_type": "x/y"}
        LoggedModelArtifact.objects.create(model=logged, path="model.pkl", **facts)
        if not where.models.filter(name=name).exists():
            create_client_model(actor=who, project=where, name=name)
        asked = {"name": name, "source": f"models:/{logged.pk}", "model_id": logged.pk}
        return record_version(actor=who, project=where, **asked)

    return make


@pytest.fixture
def measure_predictions(held):
    """measure_predictions(version, set, rmse, width=...) -> the evaluation of predictions that engineer gave."""
    return lambda version, *more, **asked: write_evaluation(held, None, *more, version=version, **asked)
