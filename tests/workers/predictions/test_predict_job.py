"""A prediction for a dataset version becomes a version of its own, with the model and the table in its lineage."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Invalid
from apps.data.datasets.models import Dataset
from apps.data.datasets.provenance.job_inputs import build_version_end
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.ml.registry.models import ModelVersion, VersionBlock
from apps.ml.registry.provenance import find_training_label
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge
from apps.platform.lineage.services import record_edges
from deepseek.models.folder import find_model_files
from tests.deepseek.models.making import make_model
from workers import tasks

PARQUET = "application/vnd.apache.parquet"
ROWS = 200


def build_table():
    random = np.random.default_rng(3)
    return pa.table({"id": np.arange(ROWS), **{f"x{place}": random.normal(1, 2, ROWS) for place in range(3)}})


@pytest.fixture
def put(project, tmp_path, worker):
    """put(path, name) -> the artifact with the bytes of a file."""

    def store(path, name) -> Artifact:
        with get_store().open_staging() as staging:
            staging.write(path.read_bytes())
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": name})
        return artifact

    return store


@pytest.fixture
def data(put, project, engineer, actor_for, tmp_path):
    """data(name, files) -> a dataset version of these tables."""

    def make(name, tables):
        files = []
        for number, table in enumerate(tables):
            path = tmp_path / f"{name}-{number}.parquet"
            pq.write_table(table, path)
            files.append((f"part-{number}.parquet", put(path, path.name), PARQUET))
        actor = actor_for(engineer)
        version, _ = add_version(
            actor=actor,
            dataset=create_dataset(actor=actor, project=project, name=name),
            files=files,
            media_type=PARQUET,
            rows=sum(table.num_rows for table in tables),
            columns=[{"name": field.name, "dtype": str(field.type)} for field in tables[0].schema],
            script="upload",
            params={},
        )
        return version, files

    return make


@pytest.fixture
def model(put, project, tmp_path, engineer):
    """A version of a regression on x0, x1 and x2, that was registered without a training."""
    make_model(tmp_path / "model", task="regression", inputs=3)
    files = find_model_files(tmp_path / "model")
    manifest = json.loads(files["manifest"].read_text())
    document = {"schema": "plane/model-version/v1", "variants": []} | {
        name: manifest[name] for name in ("task", "target", "features", "classes", "signature", "architecture")
    }
    version = ModelVersion.objects.create(
        model=project.models.create(name="fuel", versions_count=1, created_by="engineer"),
        number=1,
        digest="0" * 64,
        document=json.dumps(document),
        task="regression",
        target="y",
        created_by="engineer",
    )
    artifacts = {slot: put(files[slot], files[slot].name) for slot in ("model", "manifest")}
    version.variants.create(
        name="fp32", format="safetensors", file="model.safetensors", artifact=artifacts["model"],
        manifest=artifacts["manifest"], size=artifacts["model"].size,
    )  # fmt: skip
    return version


@pytest.fixture
def done(worker):
    def run(job):
        tasks.run_next("cpu")
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED, job.error
        return job

    return run


def read_rows(version):
    tables = [
        pq.read_table(pa.BufferReader(b"".join(get_store().open(file.artifact_id))))
        for file in version.files.order_by("path")
    ]
    return pa.concat_tables(tables)


@pytest.mark.django_db(transaction=True)
def test_predictions_are_a_version_with_its_lineage(model, data, submit, done):
    source, files = data("fleet", [build_table()])
    again = ModelVersion.objects.create(
        model=model.model, number=2, digest="1" * 64, document=model.document, task="regression", created_by="engineer"
    )  # the same bytes, registered once more
    again.variants.create(**model.variants.values("name", "format", "file", "artifact_id", "manifest_id", "size").get())
    job = submit(
        kind="predict",
        spec={"model": "fuel:v1", "keep": ["id"]},
        inputs=[InputSpec(slot="table", digest=files[0][1].digest)],
        register={"dataset": "scored"},
    )
    Dataset.objects.filter(pk=source.dataset_id).update(security_label=2)
    done(job)
    version = Dataset.objects.get(name="scored").versions.get()
    assert (version.rows, version.job_id) == (ROWS, job.pk)
    assert [column["name"] for column in version.columns] == ["id", "prediction"]
    assert read_rows(version).column("prediction").null_count == 0
    sources = Edge.objects.filter(target_type="job", target_id=str(job.pk)).values_list("source_type", "source_id")
    versions = {end for end in sources if end[0] != "artifact"}
    assert versions == {("model_version", str(model.pk)), ("dataset_version", str(source.pk))}
    assert Dataset.objects.get(name="scored").security_label == 2
    assert version.params["model"] == "fuel:v1"


@pytest.mark.django_db(transaction=True)
def test_the_label_of_the_training_is_that_of_every_form_of_the_model(model, data, submit, project):
    """Also of a model that is not registered, by the job that made its bytes."""
    source, files = data("fleet", [build_table()])
    Dataset.objects.filter(pk=source.dataset_id).update(security_label=2)
    trained, form = submit(kind="noop"), model.variants.get()
    record_edges(
        actor=build_plane_actor(PlaneRole.WORKER),
        project=project,
        edges=[EdgeSpec.between(build_version_end(source), End("job", str(trained.pk)), "table")],
    )
    digest = form.artifact_id
    assert find_training_label(project.pk, digest, form) == 0
    trained.outputs.create(slot="model", artifact=form.artifact, name="model", media_type="")
    assert find_training_label(project.pk, digest, None) == 2
    trained.outputs.all().delete()
    model.variants.create(
        name="fp16", format="safetensors", file="a", artifact=files[0][1], manifest=form.manifest, size=1,
        job_id=trained.pk,
    )  # fmt: skip
    assert find_training_label(project.pk, digest, form) == 2


@pytest.mark.django_db(transaction=True)
def test_a_blocked_version_is_refused_by_its_files_too(model, data, submit):
    _, files = data("fleet", [build_table()])
    VersionBlock.objects.create(version=model, reason="leaks", blocked_by="approver")
    form = model.variants.get()
    digests = {"table": files[0][1].digest, "model": form.artifact_id, "manifest": form.manifest_id}
    inputs = [InputSpec(slot=slot, digest=digest) for slot, digest in digests.items()]
    with pytest.raises(Invalid) as caught:
        submit(kind="predict", spec={}, inputs=inputs)
    assert [(error["code"], error["field"]) for error in caught.value.errors] == [
        ("version_blocked", "/inputs/model/digest")
    ]
    with pytest.raises(Invalid) as caught:
        submit(kind="predict", spec={"model": "fuel:v1"}, inputs=inputs[:1])
    assert ("version_blocked", "/spec/model") in [(error["code"], error["field"]) for error in caught.value.errors]


@pytest.mark.django_db(transaction=True)
def test_a_table_in_parts_stays_in_parts(model, data, submit, done):
    table = build_table()
    source, files = data("fleet", [table.slice(0, 50), table.slice(50)])
    inputs = [InputSpec(slot=f"table/{path}", digest=artifact.digest) for path, artifact, _ in files]
    job = done(submit(kind="predict", spec={"model": "fuel:v1"}, inputs=inputs, register={"dataset": "scored"}))
    version = Dataset.objects.get(name="scored").versions.get()
    assert list(version.files.order_by("path").values_list("path", flat=True)) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert version.rows == ROWS
    assert read_rows(version).column("id").to_pylist() == list(range(ROWS))
    sources = Edge.objects.filter(target_type="job", target_id=str(job.pk), source_type="dataset_version")
    assert sources.filter(source_id=str(source.pk)).exists()


@pytest.mark.django_db(transaction=True)
def test_what_does_not_fit_is_refused_before_it_is_queued(model, data, submit):
    """One case of each, by its field."""
    _, whole = data("fleet", [build_table()])
    _, narrow = data("narrow", [build_table().drop_columns(["x2"])])
    texts = build_table().set_column(1, "x0", pa.array(["a"] * ROWS))
    _, text = data("texts", [texts])
    of_images = dict(json.loads(model.document), architecture={"type": "image"})

    def refuse(files, others=(), **spec):
        digests = {"table": files[0][1].digest, **dict(others)}
        inputs = [InputSpec(slot=slot, digest=digest) for slot, digest in digests.items()]
        with pytest.raises(Invalid) as caught:
            submit(kind="predict", spec={"model": "fuel:v1", **spec}, inputs=inputs)
        return {(error["code"], error["field"]): str(error["message"]) for error in caught.value.errors}

    lacking = refuse(narrow)
    assert list(lacking) == [("unknown_column", "/inputs/table")]
    assert lacking["unknown_column", "/inputs/table"] == "narrow v1 has no column 'x2', which fuel v1 takes."
    assert list(refuse(text)) == [("column_not_numeric", "/inputs/table")]
    assert list(refuse(whole, name="id")) == [("column_exists", "/spec/name")]
    assert list(refuse(whole, keep=["nothing"])) == [("unknown_column", "/spec/keep/0")]
    assert list(refuse(whole, model="fuel:v9")) == [("model_unknown", "/spec/model")]
    assert list(refuse(whole, model="fuel")) == [("model_unknown", "/spec/model")]
    assert list(refuse(whole, model="fuel:v1/int8")) == [("no_variant", "/spec/model")]
    assert {field for _, field in refuse(whole, model="")} == {"/spec/model"}
    block = VersionBlock.objects.create(version=model, reason="wrong", blocked_by="approver")
    assert list(refuse(whole)) == [("version_blocked", "/spec/model")]
    form = model.variants.get()
    bytes_of_it = {"model": form.artifact_id, "manifest": form.manifest_id}
    assert list(refuse(whole, bytes_of_it, model="")) == [("version_blocked", "/inputs/model/digest")]
    block.delete()
    ModelVersion.objects.update(document=json.dumps(of_images))
    refused = refuse(whole)
    assert list(refused) == [("family_unsupported", "/spec/model")]
    assert "family image;" in refused["family_unsupported", "/spec/model"]
    assert not Job.objects.filter(kind="predict").exists()
