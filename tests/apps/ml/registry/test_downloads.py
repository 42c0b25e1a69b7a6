"""The files of versions that register jobs made, as MLflow's clients find them."""

from __future__ import annotations

import pytest

from apps.ml.registry import downloads
from apps.ml.registry.sources import list_frozen_files

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(registered):
    return registered()


def test_each_variant_is_a_folder(version, actor_for, viewer, project):
    who = actor_for(viewer)
    root = downloads.list_folder_entries(who, project, version.pk, "")
    assert [(one.name, one.is_folder) for one in root] == [("fp32", True), ("int8", True), ("version.json", False)]
    inside = downloads.list_folder_entries(who, project, version.pk, "fp32")
    assert [(one.name, one.is_folder) for one in inside] == [("model.fp32", False), ("model.json", False)]
    assert downloads.list_folder_entries(who, project, version.pk, "fp") == []
    variant = version.variants.get(name="int8")
    found = downloads.find_file(who, project, version.pk, "int8/model.int8")
    assert found is not None
    assert found[0].pk == variant.artifact_id
    assert downloads.find_file(who, project, version.pk, "int8") is None


def test_its_address_and_source_are_its_own_place(version):
    assert (
        downloads.get_download_address(version)
        == downloads.get_source_address(version)
        == f"mlflow-artifacts:/registry/{version.pk}"
    )
    assert [path for path, *_ in list_frozen_files(version)] == [
        "fp32/model.fp32",
        "fp32/model.json",
        "int8/model.int8",
        "int8/model.json",
        "version.json",
    ]


def test_another_project_has_no_such_version(version, actor_for, stranger, other_project):
    who = actor_for(stranger)
    assert downloads.list_folder_entries(who, other_project, version.pk, "") == []
    assert downloads.find_file(who, other_project, version.pk, "version.json") is None
