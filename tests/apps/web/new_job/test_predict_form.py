"""The form of a batch prediction: filled in from a model version, offering columns, with errors beside their fields."""

import html
import json

import pytest

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.manifest import PARQUET
from apps.data.datasets.versions.registration import add_version
from apps.ml.registry.models import ModelVersion
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

pytestmark = pytest.mark.django_db
ADDRESS = "/p/demo/jobs/new/predict"


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def table(actor_for, engineer, project, held):
    """The digest of a table of x0 and x1."""
    artifact, actor = held(b"PAR1", media_type=PARQUET), actor_for(engineer)
    add_version(
        actor=actor,
        dataset=create_dataset(actor=actor, project=project, name="fleet"),
        files=[("table.parquet", artifact, PARQUET)],
        media_type=PARQUET,
        rows=3,
        columns=[{"name": "x0", "dtype": "double"}, {"name": "x1", "dtype": "string"}],
        script="test",
        params={},
    )
    return artifact.pk


@pytest.fixture
def version(project, held):
    """fuel v1, a regression on x0."""
    document = {
        "schema": "plane/model-version/v1",
        "task": "regression",
        "target": "y",
        "features": ["x0"],
        "classes": [],
        "signature": {},
        "architecture": {"type": "mlp", "hidden": [], "activation": "relu"},
        "inputs": {},
        "spec": {},
        "note": "",
        "variants": [],
    }
    version = ModelVersion.objects.create(
        model=project.models.create(name="fuel", versions_count=1, created_by="x"),
        number=1,
        digest="0" * 64,
        document=json.dumps(document),
        task="regression",
        target="y",
        created_by="x",
    )
    files = {"artifact": held(b"model"), "manifest": held(b"{}")}
    version.variants.create(name="fp32", format="safetensors", file="model.safetensors", size=5, **files)
    return version


def test_a_version_s_page_leads_to_the_filled_form(version, table, engineer, web):
    client = web(engineer)
    page = html.unescape(client.get("/p/demo/models/fuel/1").content.decode())
    assert f"{ADDRESS}?model=fuel%3Av1" in page
    form = html.unescape(client.get(f"{ADDRESS}?model=fuel:v1").content.decode())
    assert 'value="fuel:v1"' in form
    assert f'<option value="{table}"' in form
    assert '<option value="fuel:v1" label="regression: y">' in form


def test_a_job_by_the_form(version, table, engineer, web):
    fields = {"inputs/table": table, "/model": "fuel:v1", "op": "submit"}
    answer = web(engineer).post(ADDRESS, {**fields, "/keep": "x1", "register/dataset": "scored"})
    assert answer.status_code == 302, answer.content.decode()
    job = Job.objects.get()
    assert {row.slot for row in job.inputs.all()} == {"table", "model", "manifest"}
    assert json.loads(job.spec)["keep"] == ["x1"]


def test_errors_stand_beside_their_fields(version, table, engineer, web):
    ModelVersion.objects.update(document=version.document.replace('"x0"', '"x7"'))
    fields = {"inputs/table": table, "/model": "fuel:v1", "op": "submit"}
    page = html.unescape(web(engineer).post(ADDRESS, fields).content.decode())
    assert "fleet v1 has no column 'x7', which fuel v1 takes." in page
    page = html.unescape(web(engineer).post(ADDRESS, {**fields, "/model": "fuel:v9"}).content.decode())
    assert "This project has no version 9 of a model 'fuel'." in page
    assert not Job.objects.exists()
