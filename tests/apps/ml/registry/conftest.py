"""Versions of a model, registered by the service that registers them in life, from jobs that were never run."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.datasets.versions.manifest import PARQUET
from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelArtifact, Run
from apps.ml.registry.documents import serialize_document
from apps.ml.registry.models import AliasMove, ModelVersion
from apps.ml.registry.promotion.facts import build_promotion_facts
from apps.ml.registry.services import create_client_model, record_version, register_version
from apps.ml.registry.services.aliases import move_alias
from apps.ml.registry.services.evaluations import create_evaluation_set, set_gate
from apps.ml.registry.states import PRODUCTION, SUBJECT, MoveKind
from apps.platform.approvals.differences import serialize_facts
from apps.platform.approvals.models import Approval, Vote
from apps.platform.approvals.services import record_names
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job, JobInput, JobOutput
from tests.apps.ml.registry.measured import write_evaluation

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
def store_files(project):
    """store_files([(name, bytes)], where=project) -> their Artifacts, whose bytes are in the store of this folder.

    Without fsync, and by two statements however many there are: most tests here need dozens of files.
    """

    def put(files, where=None):
        artifacts = []
        for _, data in files:
            artifacts.append(Artifact(digest=sha256_hex(data), size=len(data)))
            path = get_store().path_of(artifacts[-1].digest)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        Artifact.objects.bulk_create({one.digest: one for one in artifacts}.values(), ignore_conflicts=True)
        holdings = [
            Holding(project=where or project, artifact=one, name=name)
            for one, (name, _) in zip(artifacts, files, strict=True)
        ]
        Holding.objects.bulk_create(holdings, ignore_conflicts=True)
        return artifacts

    return put


@pytest.fixture
def held(store_files):
    """held(bytes, where=project, name=...) -> an Artifact whose bytes are in the store."""
    return lambda data, where=None, name="it": store_files([(name, data)], where)[0]


def ended_job(project, kind):
    facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
    return Job(project=project, kind=kind, state="succeeded", requester="engineer", **facts)


def input_of(job, slot, given):
    source, artifact = given if isinstance(given, tuple) else (None, given)
    return JobInput(job=job, slot=slot, artifact=artifact, source_job=source)


def output_of(job, slot, artifact):
    return JobOutput(job=job, slot=slot, artifact=artifact, name=f"{slot}.bin", media_type="x/y")


@pytest.fixture
def job_of(project):
    """job_of(kind, inputs={slot: artifact or (job, artifact)}, outputs={slot: artifact}) -> a job that has ended."""

    def make(kind, inputs=(), outputs=(), where=None):
        job = ended_job(where or project, kind)
        job.save()
        JobInput.objects.bulk_create(input_of(job, slot, given) for slot, given in dict(inputs).items())
        JobOutput.objects.bulk_create(output_of(job, slot, artifact) for slot, artifact in dict(outputs).items())
        return job

    return make


@pytest.fixture
def default_experiment(project):
    """default_experiment(where=project) -> the experiment that runs belong to when nothing else is said."""

    def get(where=None):
        facts = {"name": "Default", "created_by": "x"}
        return Experiment.objects.get_or_create(project=where or project, number=0, defaults=facts)[0]

    return get


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
    reference = {**baseline, "name": "HistGradientBoosting", "library": "scikit-learn 1.7", "iterations": 100}
    reference |= {"rows": 50, "training_rows": 90, "difference": [rmse(-0.5, -0.8, -0.2)]}
    derived = {"size_ratio": 2.0, "latency": [latency | {"against_median_us": 15.0, "ratio": ratio}]}
    return shown | {"notes": []} | ({"baseline": baseline, "references": [reference]} if variant == "fp32" else derived)


@pytest.fixture
def forms(project, store_files, default_experiment):
    """forms(...) -> (register job, outputs): what a register job of these forms was given and has made."""

    def make(
        names=("fp32", "int8"), metrics=None, seed=None, heldout=b"rows", note="", where=None, ratio=1.5, more=None
    ):
        where, seed = where or project, next(numbers) if seed is None else seed
        contents = [("it", heldout)]
        for name in names:
            contents += [
                (f"{name}.bin", f"{name} of {seed}".encode()),
                ("model.json", f"manifest {name} {seed}".encode()),
                ("figures.json", f"figures {name} {seed} {metrics} {ratio}".encode()),
            ]
        rows_held, *rest = store_files(contents, where)
        files, manifests, measured = (dict(zip(names, rest[k::3], strict=True)) for k in range(3))
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
                "figures": figures(name, metrics or [RMSE], files[name].size, ratio) | (more or {}).get(name, {}),
            }
            for name in names
        ]
        document = document_of(rows, note)
        [written] = store_files([("version.json", serialize_document(document).encode())], where)
        makers = [ended_job(where, "train" if name == "fp32" else KINDS[name]) for name in names]
        *_, job = Job.objects.bulk_create([*makers, ended_job(where, "register")])
        inputs, outputs, runs, experiment = [], [], [], default_experiment(where)
        for name, maker in zip(names, makers, strict=True):
            parts = {"model": files[name], "manifest": manifests[name], "figures": measured[name]}
            made = parts | ({"heldout": rows_held} if name == "fp32" else {})
            outputs += [output_of(maker, slot, artifact) for slot, artifact in made.items()]
            for ending, part in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures")):
                inputs.append(input_of(job, SLOTS[name] + ending, (maker, parts[part])))
            facts = {"name": "r", "kind": maker.kind, "state": "finished", "metrics_digest": "d" * 64}
            runs.append(Run(project=where, experiment=experiment, job=maker, **facts))
        JobInput.objects.bulk_create(inputs)
        JobOutput.objects.bulk_create(outputs)
        Run.objects.bulk_create(runs)
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
    """approved(version) -> the approval that has put it into production.

    The rows that asking and voting leave, without the checks on the way: test_promotion.py has those.
    """

    def promote(version):
        facts, now = serialize_facts(build_promotion_facts(version, deep=False)), timezone.now()
        digest = sha256_hex(facts)
        about = {"subject_type": SUBJECT, "subject_id": str(version.pk), "title": f"{version} to {PRODUCTION}"}
        asked = {"comment": "please", "requester": "engineer", "requester_user": engineer, "facts": facts}
        approval = Approval.objects.create(
            project=version.model.project,
            **about,
            **asked,
            facts_digest=digest,
            needed=1,
            eligible=1,
            state=ApprovalState.APPROVED,
            deadline_at=now + timedelta(hours=72),
            decided_at=now,
        )
        record_names(approval)
        vote = {"user": approver, "label": "approver", "decision": "approve", "reason": "good", "method": "password"}
        Vote.objects.create(approval=approval, facts_digest=digest, **vote)
        before = ModelVersion.objects.filter(aliases__name=PRODUCTION, model=version.model_id).first()
        move = AliasMove(alias=PRODUCTION, kind=MoveKind.PROMOTE, from_version=before, to_version=version)
        move.approval, move.reason = approval, "please"
        move_alias(actor_for(approver), move)
        return approval

    return promote


@pytest.fixture
def spoil():
    """spoil(digest) puts other bytes where the store keeps these."""

    def write(digest):
        path = get_store().path_of(digest)
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
def by_client(actor_for, engineer, project, held, default_experiment):
    """by_client(name=...) -> the next version of a model as a client registers it: a file, and no variant."""

    def make(name="wti-forecast", where=None):
        who, where = actor_for(engineer), where or project
        facts = {"experiment": default_experiment(where), "name": "net", "created_by": "engineer"}
        logged = LoggedModel.objects.create(project=where, **facts)
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
