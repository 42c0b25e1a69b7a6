"""The page of a logged model."""

from __future__ import annotations

import pytest

from apps.artifacts.models import Artifact
from apps.experiments.models import Experiment, LoggedModel, LoggedModelArtifact, LoggedModelParam


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
    assert "data/w.bin" in text
    assert "&lt;3&gt;" in text
    assert "fruit" in text


def test_who_may_not_see_it_finds_nothing(model, stranger, viewer, web):
    assert web(stranger).get(f"/p/demo/logged-models/{model.pk}").status_code == 404
    assert web(viewer).get(f"/p/demo/logged-models/m-{'0' * 32}").status_code == 404
    LoggedModel.objects.update(deleted_at=model.created_at)
    assert web(viewer).get(f"/p/demo/logged-models/{model.pk}").status_code == 404
