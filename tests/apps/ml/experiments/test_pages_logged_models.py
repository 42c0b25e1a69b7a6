"""The page of a logged model."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelArtifact, LoggedModelParam
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import store_file


@pytest.fixture
def model(project):
    experiment = Experiment.objects.create(project=project, number=4, name="fruit", created_by="x")
    made = LoggedModel.objects.create(project=project, experiment=experiment, name="net", created_by="engineer")
    artifact = Artifact.objects.create(digest="a" * 64, size=7)
    LoggedModelArtifact.objects.create(model=made, path="data/w.bin", artifact=artifact, size=7, media_type="x/y")
    LoggedModelParam.objects.create(model=made, key="depth", value="<3>")
    return made


def test_it_tells_its_files_and_params(model, viewer, web):
    text = web(viewer).get(f"/p/demo/logged-models/{model.pk}").content.decode()
    assert "w.bin</a>" in text
    assert "&lt;3&gt;" in text
    assert "fruit" in text


def test_who_may_not_see_it_finds_nothing(model, stranger, viewer, web):
    client = web(viewer)
    assert web(stranger).get(f"/p/demo/logged-models/{model.pk}").status_code == 404
    assert client.get(f"/p/demo/logged-models/m-{'0' * 32}").status_code == 404
    LoggedModel.objects.update(deleted_at=model.created_at)
    assert client.get(f"/p/demo/logged-models/{model.pk}").status_code == 404


def test_many_files_are_shown_a_folder_at_a_time(model, viewer, web):
    client = web(viewer)
    files = [
        LoggedModelArtifact(model=model, path=f"shards/s{n:03}.bin", artifact_id="a" * 64, size=7, media_type="x/y")
        for n in range(250)
    ]
    LoggedModelArtifact.objects.bulk_create(files)
    page = client.get(f"/p/demo/logged-models/{model.pk}").content.decode()
    assert "<b>251 files</b>" in page
    assert "shards/</a>" in page
    assert "s000.bin" not in page
    inside = client.get(f"/p/demo/logged-models/{model.pk}?folder=shards&limit=100").content.decode()
    assert "s099.bin" in inside
    assert "s100.bin" not in inside
    assert client.get(f"/p/demo/logged-models/{model.pk}?folder=none").status_code == 404


def test_a_file_can_be_looked_into(model, viewer, web, project, worker_actor, tmp_path):
    client = web(viewer)
    (tmp_path / "MLmodel").write_bytes(b"flavors:\n  pytorch: <1>\n")
    made = store_file(actor=worker_actor, project=project, path=tmp_path / "MLmodel")
    LoggedModelArtifact.objects.create(
        model=model, path="MLmodel", artifact=made, size=made.size, media_type="text/plain"
    )
    text = client.get(f"/p/demo/logged-models/{model.pk}?preview=MLmodel").content.decode()
    assert "pytorch: &lt;1&gt;" in text
    assert client.get(f"/p/demo/logged-models/{model.pk}?preview=no").status_code == 404
