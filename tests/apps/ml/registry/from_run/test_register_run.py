"""A model version from a run: by the page and by REST, of a training job and of a model that a client logged."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict
from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelArtifact, Run
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.services import clients
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.scheduling import doorbell
from apps.platform.lineage.models import Edge

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_doorbell(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def experiment(project):
    return Experiment.objects.create(project=project, number=0, name="Default")


@pytest.fixture
def artifact(project):
    artifact = Artifact.objects.create(digest="a" * 64, size=5)
    Holding.objects.create(project=project, artifact=artifact, created_by="x")
    return artifact


@pytest.fixture
def trained(project, experiment, artifact):
    """A run whose training job has succeeded."""
    facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
    job = Job.objects.create(project=project, kind="train", state="succeeded", requester="engineer", **facts)
    for slot in ("model", "manifest", "figures"):
        JobOutput.objects.create(job=job, slot=slot, artifact=artifact, name=slot)
    columns = {"project": project, "experiment": experiment, "state": "finished"}
    return Run.objects.create(name="trained", kind="train", job=job, **columns)


@pytest.fixture
def logged(project, experiment, artifact):
    """A run of a client with a model that is ready."""
    run = Run.objects.create(project=project, experiment=experiment, name="client", state="finished")
    facts = {"project": project, "experiment": experiment, "name": "net", "state": "ready", "created_by": "x"}
    model = LoggedModel.objects.create(source_run=run, **facts)
    LoggedModelArtifact.objects.create(model=model, path="MLmodel", artifact=artifact, size=5)
    return run


@pytest.fixture
def where(project):
    return lambda run: f"/p/{project.slug}/runs/{run.pk}/register"


@pytest.fixture
def call(api, make_token, engineer, project):
    client = api(make_token(engineer, scopes=["read", "models:write", "jobs:write"])[0])
    return lambda run, **body: client.post(
        f"/api/v1/projects/{project.slug}/runs/{run.pk}/register", {"model": "plant", **body}, format="json"
    )


def test_a_training_is_registered_by_a_job(web, engineer, where, trained):
    client = web(engineer)
    assert where(trained) in client.get(where(trained).removesuffix("/register")).content.decode()
    assert client.get(where(trained)).status_code == 200
    answer = client.post(where(trained), {"model": "plant", "note": "the first"})
    job = Job.objects.get(kind="register")
    assert answer.headers["Location"] == f"/p/demo/jobs/{job.pk}"
    assert (job.register, "the first" in job.spec) == ({"model": "plant"}, True)
    sources = {row.slot: (row.source_job_id, row.artifact_id) for row in job.inputs.all()}
    expected = (trained.job_id, "a" * 64)
    assert sources == dict.fromkeys(("fp32", "fp32_manifest", "fp32_figures"), expected)


def test_a_logged_model_is_registered_at_once(call, logged):
    answer = call(logged, note="by hand")
    assert (answer.status_code, answer.json()) == (201, {"job": None, "model": "plant", "version": 1})
    version = ModelVersion.objects.get()
    assert (version.run, version.description, version.files.count()) == (logged, "by hand", 1)
    edges = Edge.objects.filter(target_type="model_version", target_id=str(version.pk))
    assert list(edges.values_list("source_type", flat=True)) == ["logged_model"]
    assert call(logged).json()["version"] == 2


def test_a_version_that_fails_leaves_no_model_behind(call, logged, monkeypatch):
    def fail(**_arguments):
        raise Conflict("The logged model is gone.")

    monkeypatch.setattr(clients, "add_version_to_tag", fail)
    assert call(logged).status_code == 409
    assert not Model.objects.exists()
    assert not AuditRecord.objects.filter(action__in=("model.create", "model.record_version")).exists()


def test_a_bad_value_and_an_empty_run_are_refused(call, web, engineer, where, trained, logged, experiment, project):
    empty = Run.objects.create(project=project, experiment=experiment, name="empty", state="finished")
    assert call(trained, logged_model="m-1").json()["error"]["field"].strip("/") == "logged_model"
    Job.objects.filter(pk=trained.job_id).update(state="failed")
    for run, body, status, field in (
        (logged, {"model": "Bad Name"}, 422, "model"),
        (logged, {"note": "x" * 501}, 422, "note"),
        (logged, {"logged_model": "m-1"}, 422, "logged_model"),
        (empty, {}, 409, "run"),
        (trained, {}, 409, "run"),
    ):
        answer = call(run, **body)
        assert (answer.status_code, answer.json()["error"]["field"].strip("/")) == (status, field), body
    client = web(engineer)
    assert "This run has no model to register." in client.get(where(empty)).content.decode()
    refused = client.post(where(logged), {"model": "Bad Name"})
    assert (refused.status_code, b'value="Bad Name"' in refused.content) == (422, True)
    assert not ModelVersion.objects.exists()


def test_a_viewer_may_not_and_a_stranger_sees_nothing(web, viewer, stranger, where, trained):
    page = web(viewer).get(where(trained).removesuffix("/register")).content.decode()
    assert where(trained) not in page
    assert web(viewer).post(where(trained), {"model": "plant"}).status_code == 403
    assert web(stranger).get(where(trained)).status_code == 404
    assert not Job.objects.filter(kind="register").exists()
