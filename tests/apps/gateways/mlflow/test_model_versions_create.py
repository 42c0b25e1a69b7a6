"""model-versions/create: a version of the files that lie at its source now."""

from __future__ import annotations

import json

import pytest

from apps.core.canonical import sha256_hex
from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge
from tests.apps.gateways.mlflow.conftest import MLMODEL

pytestmark = pytest.mark.services

CREATE = "model-versions/create"


@pytest.fixture
def model(track):
    return track.post("registered-models/create", name="scorer")


def make(track, **body):
    return track.post(CREATE, name="scorer", **body)["model_version"]


def test_of_a_logged_model(track, model, logged, run):
    key = logged()
    tags = [{"key": "team", "value": "a"}]
    told = make(track, source=f"models:/{key}", model_id=key, description="First", tags=tags, run_link="http://x")
    assert told == {
        "name": "scorer",
        "version": "1",
        "creation_timestamp": told["creation_timestamp"],
        "last_updated_timestamp": told["last_updated_timestamp"],
        "current_stage": "None",
        "description": "First",
        "source": f"models:/{key}",
        "run_id": run.pk,
        "status": "READY",
        "tags": tags,
        "run_link": "http://x",
    }
    assert track.get("model-versions/get", name="scorer", version="1") == {"model_version": told}


def test_its_document_names_every_file(track, model, logged, run):
    key = logged()
    make(track, source=f"models:/{key}", model_id=key)
    version = ModelVersion.objects.get()
    document = json.loads(version.document)
    assert version.digest == sha256_hex(version.document)
    assert document["files"] == [
        {"path": "MLmodel", "sha256": sha256_hex(MLMODEL.decode()), "size": len(MLMODEL)},
        {"path": "data/weights.bin", "sha256": sha256_hex("weights"), "size": 7},
    ]
    assert (document["schema"], document["run"], document["number"]) == ("plane/mlflow-version/v1", run.pk, 1)
    record = AuditRecord.objects.get(action="model.record_version")
    assert version.digest in record.body


def test_lineage_leads_from_the_run_by_the_model(track, model, logged, run):
    key = logged()
    make(track, source=f"models:/{key}", model_id=key)
    ways = set(Edge.objects.values_list("source_type", "source_id", "target_type", "target_id"))
    number = str(ModelVersion.objects.get().pk)
    assert ways == {("run", run.pk, "logged_model", key), ("logged_model", key, "model_version", number)}


def test_of_a_folder_of_a_run(track, model, run, place):
    track.put(f"{place}/model/MLmodel", b"flavors: {}")
    track.put(f"{place}/models/other", b"not of it")
    made = make(track, source=f"mlflow-artifacts:/{place}/model", run_id=run.pk)
    assert made["run_id"] == run.pk
    assert [file.path for file in ModelVersion.objects.get().files.all()] == ["MLmodel"]


def test_of_another_version(track, model, logged, run):
    key = logged()
    make(track, source=f"models:/{key}", model_id=key)
    assert make(track, source="models:/scorer/1")["run_id"] == run.pk
    first, second = ModelVersion.objects.order_by("number")
    assert second.files.count() == first.files.count() == 2


def test_of_what_lies_outside_it_keeps_the_words(track, model):
    assert make(track, source="s3://bucket/model")["source"] == "s3://bucket/model"
    assert ModelVersion.objects.get().is_empty


def test_the_logged_model_names_its_versions(track, model, logged):
    """In the tag by which the client finds them, each once, whatever a client has written there."""
    key = logged()

    def named():
        tags = track.get(f"logged-models/{key}")["model"]["info"]["tags"]
        return json.loads(next(one["value"] for one in tags if one["key"] == "mlflow.modelVersions"))

    make(track, source=f"models:/{key}", model_id=key)
    make(track, source=f"models:/{key}", model_id=key)
    assert named() == [{"name": "scorer", "version": 1}, {"name": "scorer", "version": 2}]
    track.patch(f"logged-models/{key}/tags", tags=[{"key": "mlflow.modelVersions", "value": "no JSON"}])
    make(track, source=f"models:/{key}", model_id=key)
    assert named() == [{"name": "scorer", "version": 3}]


def test_numbers_are_not_given_again(track, model, logged):
    key = logged()
    for expected in ("1", "2"):
        assert make(track, source=f"models:/{key}", model_id=key)["version"] == expected
    track.delete("model-versions/delete", name="scorer", version="2")
    assert make(track, source=f"models:/{key}", model_id=key)["version"] == "3"


WRONG_SOURCES = [
    ("", 400, "Missing value for required parameter 'source'"),
    (5, 400, "Invalid value 5 for parameter 'source' supplied"),
    ("/etc/passwd", 400, "To use a local path as a model version source"),
    ("file:///etc/passwd", 400, "To use a local path as a model version source"),
    ("mlflow-artifacts:/{place}/../../x", 400, "an absolute path must be provided without relative path"),
    ("mlflow-artifacts:/{place}/%252e%252e/x", 400, "an absolute path must be provided without relative path"),
    ("mlflow-artifacts:/3/" + "1" * 32 + "/artifacts", 400, "The run_id request parameter must identify"),
    ("mlflow-artifacts:/0/elsewhere", 400, "The run_id request parameter must identify the resource"),
    ("mlflow-artifacts:/3/" + "0" * 32 + "/artifacts", 400, "The run_id request parameter must identify"),
    ("mlflow-artifacts://host/{place}", 400, "names a host"),
    ("models:/m-" + "0" * 32, 400, "The model_id request parameter must identify the resource"),
    ("models:/scorer/99", 404, "Model Version (name=scorer, version=99) not found"),
    ("https://elsewhere/model", 400, "'source' cannot use the 'https' scheme"),
]


def test_wrong_sources_are_refused(track, model, run, place):
    wrong = {}
    for source, status, text in WRONG_SOURCES:
        source = source.format(place=place) if isinstance(source, str) else source
        answer = track.refused("POST", CREATE, {"name": "scorer", "source": source, "run_id": run.pk})
        if answer[0] != status or text not in answer[2]:
            wrong[source] = answer
    assert wrong == {}
    assert not ModelVersion.objects.exists()


def test_what_belongs_to_another_project_is_no_source(client_of, stranger, logged, version_of, run):
    key = logged()
    version_of(key)
    away = client_of(stranger)
    away.post("registered-models/create", name="mine")
    for source, more in (
        (f"models:/{key}", {"model_id": key}),
        (f"mlflow-artifacts:/3/{run.pk}/artifacts", {"run_id": run.pk}),
        ("models:/fruit/1", {}),
        (f"mlflow-artifacts:/registry/{ModelVersion.objects.get().pk}", {}),
    ):
        assert away.refused("POST", CREATE, {"name": "mine", "source": source, **more})[0] in (400, 404)
    assert ModelVersion.objects.count() == 1


def test_nobody_else_may(client_of, viewer, stranger, model, track, logged):
    key = logged()
    body = {"name": "scorer", "source": f"models:/{key}", "model_id": key}
    assert client_of(viewer).refused("POST", CREATE, body)[:2] == (403, "PERMISSION_DENIED")
    assert client_of(stranger).refused("POST", CREATE, body)[0] == 404
    status, _, text = track.refused("POST", CREATE, body | {"name": "nothing"})
    assert (status, text.startswith("Registered Model with name=nothing not found")) == (404, True)


def test_queries_do_not_grow(track, model, logged, django_assert_num_queries):
    for files in ({"MLmodel": MLMODEL}, {f"{n}.bin": b"%d" % n for n in range(12)}):
        key = logged(files)
        make(track, source=f"models:/{key}", model_id=key)
        with django_assert_num_queries(12):
            make(track, source=f"models:/{key}", model_id=key)


def test_a_folder_must_be_of_the_run_or_the_model_that_is_named(track, model, logged, run, place):
    key = logged()
    for source, more in (
        (f"mlflow-artifacts:/{place}", {}),
        (f"mlflow-artifacts:/{place}", {"run_id": "0" * 32}),
        (f"mlflow-artifacts:/{place}", {"model_id": key}),
        (f"mlflow-artifacts:/3/models/{key}/artifacts", {}),
        (f"mlflow-artifacts:/3/models/{key}/artifacts", {"run_id": run.pk}),
        (f"models:/{key}", {}),
    ):
        status, _, text = track.refused("POST", CREATE, {"name": "scorer", "source": source, **more})
        assert (status, "must identify the resource that contains the source" in text) == (400, True)
    assert not ModelVersion.objects.exists()


def test_a_version_does_not_say_that_it_comes_of_another_run(track, model, logged, run):
    key = logged()
    make(track, source=f"models:/{key}", model_id=key, run_id=run.pk)
    other = Run.objects.create(project=run.project, experiment=run.experiment, name="other", created_by="x")
    for source, more in (
        (f"models:/{key}", {"model_id": key}),
        (f"mlflow-artifacts:/3/models/{key}/artifacts", {"model_id": key}),
        ("models:/scorer/1", {}),
    ):
        body = {"name": "scorer", "source": source, "run_id": other.pk, **more}
        status, _, text = track.refused("POST", CREATE, body)
        assert (status, "must name the run that the source came from" in text) == (400, True)
        assert track.post(CREATE, **body | {"run_id": run.pk})["model_version"]["run_id"] == run.pk
    assert ModelVersion.objects.count() == 4
