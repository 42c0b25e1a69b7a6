"""What becomes of the outputs of train, quantize, compile and register; from the upload to the variant and back."""

from __future__ import annotations

import hashlib

import pytest
from django.db import OperationalError

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.ml.registry.models import ModelVersion, Variant
from apps.ml.registry.services import versions
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.models import Edge
from deepseek.job import Silent
from deepseek.models.figures import Figures, Metric
from deepseek.models.manifest import ModelManifest
from deepseek.register.run import run as run_register
from deepseek.register.spec import RegisterSpec
from workers import registration, tasks

PARQUET = "application/vnd.apache.parquet"
RMSE = Metric(name="rmse", value=1.5, low=1.2, high=1.8, confidence=0.95, better="lower")

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _own_store(settings, tmp_path):
    settings.PLANE_HOME = tmp_path


@pytest.fixture
def held(project):
    def put(data: bytes, name="it") -> Artifact:
        with get_store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": name})
        return artifact

    return put


def manifest_of(variant, data, parent=None):
    tensor = {"dtype": "float32", "shape": [-1, 1]}
    return ModelManifest.model_validate(
        {
            "variant": variant,
            "format": "safetensors" if parent is None else "torchscript",
            "file": {"name": f"model.{variant}", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
            "task": "regression",
            "target": "y",
            "features": ["x"],
            "signature": {"inputs": [{"name": "features", **tensor}], "outputs": [{"name": "prediction", **tensor}]},
            "architecture": {"inputs": 1, "hidden": [], "outputs": 1, "activation": "relu", "output": "value"},
            "parent": parent,
        }
    )


@pytest.fixture
def forms(held):
    """{slot: artifact} of a model in two forms."""
    fp32 = manifest_of("fp32", b"weights")
    int8 = manifest_of("int8", b"small weights", fp32.compute_digest())
    made = {}
    for slot, manifest, data in (("fp32", fp32, b"weights"), ("int8", int8, b"small weights")):
        figures = Figures(variant=slot, rows=4, metrics=[RMSE], size_bytes=len(data))
        made[slot] = held(data, manifest.file.name)
        made[f"{slot}_manifest"] = held(manifest.to_json().encode(), "model.json")
        made[f"{slot}_figures"] = held(figures.to_json().encode(), "figures.json")
    return made


# -- through a worker -----------------------------------------------------------------------------------------------
@pytest.fixture
def register(worker, submit, forms):
    """register(register={...}) -> the job that a worker has done."""

    def run(**asked) -> Job:
        inputs = [InputSpec(slot=slot, digest=artifact.digest) for slot, artifact in forms.items()]
        job = submit(kind="register", inputs=inputs, **asked)
        tasks.run_next("cpu")
        job.refresh_from_db()
        return job

    return run


@pytest.mark.django_db(transaction=True)
def test_register_job_makes_version_once(register):
    jobs = [register(register={"model": "wti-forecast"}) for _ in range(2)]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 2
    version = ModelVersion.objects.get()
    assert (version.number, version.job_id, version.digest) == (1, jobs[0].pk, jobs[0].outputs.get().artifact_id)
    assert [variant.name for variant in version.variants.order_by("pk")] == ["fp32", "int8"]
    assert Variant.objects.get(name="int8").parent.name == "fp32"


@pytest.mark.django_db(transaction=True)
def test_document_without_model_stays_an_artifact(register):
    job = register()
    assert job.state == JobState.SUCCEEDED
    assert not ModelVersion.objects.exists()
    assert Edge.objects.filter(source_type="job", target_id=job.outputs.get().artifact_id).exists()


@pytest.mark.django_db(transaction=True)
def test_database_outage_at_the_end_leaves_one_version(register, monkeypatch):
    record, failures = versions.record_edges, iter([OperationalError("gone"), OperationalError("gone")])

    def fails_twice(**edges):
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return record(**edges)

    monkeypatch.setattr(versions, "record_edges", fails_twice)
    job = register(register={"model": "wti-forecast"})
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    assert (ModelVersion.objects.get().number, Variant.objects.count()) == (1, 2)
    assert AuditRecord.objects.filter(action="model.register_version").count() == 1


@pytest.mark.django_db(transaction=True)
def test_tampered_variant_fails_job(register, forms, held):
    forms["int8"] = held(b"tampered")
    job = register(register={"model": "wti-forecast"})
    assert (job.state, job.error["code"], job.attempt) == (JobState.FAILED, "model_tampered", 1)
    assert not ModelVersion.objects.exists()


# -- lineage --------------------------------------------------------------------------------------------------------
@pytest.fixture
def job_of(project):
    """job_of(kind, inputs={slot: (job, artifact)}, outputs={slot: artifact}, register={}) -> a job that has ended."""

    def make(kind, inputs, outputs, register=()):
        facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
        job = Job.objects.create(project=project, kind=kind, state="succeeded", register=dict(register), **facts)
        for slot, (source, artifact) in inputs.items():
            JobInput.objects.create(job=job, slot=slot, artifact=artifact, source_job=source)
        rows = [(slot, artifact, f"{slot}.bin", "x/y", {}) for slot, artifact in outputs.items()]
        for slot, artifact, name, media, _ in rows:
            JobOutput.objects.create(job=job, slot=slot, artifact=artifact, name=name, media_type=media)
        return job, rows

    return make


@pytest.fixture
def raw(worker_actor, project, held):
    """An uploaded table as a version of a dataset."""
    dataset = create_dataset(actor=worker_actor, project=project, name="wti-daily")
    facts = {"media_type": "text/csv", "rows": 3, "columns": [], "script": "upload", "params": {}}
    files = [("table.csv", held(b"a,b\n1,2\n"), "text/csv")]
    return add_version(actor=worker_actor, dataset=dataset, files=files, **facts)[0]


@pytest.fixture
def described(forms, held, tmp_path):
    """What the engine's register makes of the forms, as the worker hands it on."""
    inputs = {slot: get_store().path_of(artifact.digest) for slot, artifact in forms.items()}
    [output] = run_register(RegisterSpec(), inputs=inputs, out=tmp_path / "v", report=Silent()).outputs
    written = held((tmp_path / "v" / output.path).read_bytes(), output.path)
    return [(output.slot, written, output.path, output.media_type, output.meta)]


def parts_of(forms, form):
    return {part: forms[f"{form}_{part}"] for part in ("manifest", "figures")}


@pytest.fixture
def chain(worker_actor, raw, held, forms, described, job_of):
    """Raw table -> clean -> train -> quantize -> register, as the worker records them; the version."""
    table = held(b"PAR1 clean")
    clean, made = job_of("clean", {"table": (None, raw.files.get().artifact)}, {"table": table}, {"dataset": "clean"})
    registration.register_cleaned_table(worker_actor, clean, [(*made[0][:3], PARQUET, {"rows": 3})])
    outputs = {form: {"model": forms[form], **parts_of(forms, form)} for form in ("fp32", "int8")}
    train, made = job_of("train", {"table": (clean, table)}, {**outputs["fp32"], "heldout": held(b"rows")})
    registration.record_training_lineage(worker_actor, train, made)
    quantize, made = job_of("quantize", {"model": (train, forms["fp32"])}, outputs["int8"])
    registration.record_derived_model(worker_actor, quantize, made)
    inputs = {slot: (train if slot.startswith("fp32") else quantize, artifact) for slot, artifact in forms.items()}
    job, _ = job_of("register", inputs, {"version": described[0][1]}, {"model": "wti-forecast"})
    registration.register_model_version(worker_actor, job, described)
    return ModelVersion.objects.get()


def graph_of(client, type, id, direction):
    query = {"type": type, "id": str(id), "direction": direction, "depth": "10"}
    answer = client.get("/api/v1/projects/demo/lineage", query)
    assert answer.status_code == 200
    return {(node["type"], node["label"]) for node in answer.json()["nodes"]}


@pytest.mark.django_db
def test_lineage_from_variant_to_upload(chain, api, viewer):
    variant = chain.variants.get(name="int8")
    found = graph_of(api(viewer), "variant", variant.pk, "up")
    assert {label for type, label in found if type == "dataset_version"} == {"wti-daily v1", "clean v1"}
    assert {label.split()[1] for type, label in found if type == "job"} == {"clean", "train", "quantize"}
    assert {label for type, label in found if type == "artifact"} == {"model.fp32", "model.int8"}


@pytest.mark.django_db
def test_lineage_from_upload_to_variant(chain, raw, api, viewer):
    found = graph_of(api(viewer), "dataset_version", raw.pk, "down")
    assert ("variant", "wti-forecast v1 int8") in found
    assert ("variant", "wti-forecast v1 fp32") in found
    assert ("model_version", "wti-forecast v1") in found
    assert {label.split()[1] for type, label in found if type == "job"} == {"clean", "train", "quantize", "register"}


@pytest.mark.django_db
def test_version_knows_its_jobs_and_heldout_rows(chain):
    fp32, int8 = chain.variants.order_by("pk")
    kinds = [Job.objects.get(pk=variant.job_id).kind for variant in (fp32, int8)]
    assert kinds == ["train", "quantize"]
    assert fp32.heldout == JobOutput.objects.get(job_id=fp32.job_id, slot="heldout").artifact_id


@pytest.mark.django_db
def test_second_registration_leaves_lineage_unchanged(chain, worker_actor, described):
    before = Edge.objects.count()
    registration.register_model_version(worker_actor, Job.objects.get(pk=chain.job_id), described)
    assert (Edge.objects.count(), ModelVersion.objects.count()) == (before, 1)


@pytest.mark.django_db
def test_lineage_prefers_table_of_parent_among_equal_ones(worker_actor, raw, held, forms, job_of):
    """Another dataset may hold the same bytes, and be newer."""
    table = held(b"PAR1 clean")
    clean, made = job_of("clean", {"table": (None, raw.files.get().artifact)}, {"table": table}, {"dataset": "clean"})
    registration.register_cleaned_table(worker_actor, clean, [(*made[0][:3], PARQUET, {"rows": 3})])
    copy = create_dataset(actor=worker_actor, project=raw.dataset.project, name="copy")
    facts = {"media_type": PARQUET, "rows": 3, "columns": [], "script": "upload", "params": {}}
    add_version(actor=worker_actor, dataset=copy, files=[("table.parquet", table, PARQUET)], **facts)
    train, made = job_of("train", {"table": (clean, table)}, {"model": forms["fp32"]})
    registration.record_training_lineage(worker_actor, train, made)
    assert Edge.objects.get(target_type="job", target_id=str(train.pk)).source_label == "clean v1"


@pytest.mark.django_db
def test_unregistered_table_is_in_lineage_itself(worker_actor, held, forms, job_of):
    table = held(b"PAR1 bare")
    train, made = job_of("train", {"table": (None, table)}, {"model": forms["fp32"]})
    registration.record_training_lineage(worker_actor, train, made)
    edge = Edge.objects.get(target_type="job", target_id=str(train.pk))
    assert (edge.source_type, edge.source_id) == ("artifact", table.digest)
