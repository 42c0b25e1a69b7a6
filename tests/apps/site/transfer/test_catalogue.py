"""A catalogue that two people signed may still be nonsense: it is refused, and nothing of it is written."""

import json

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import PlaneError
from apps.data.datasets.services import add_files
from apps.site.transfer.facts import parse_manifest
from apps.site.transfer.folders import get_objects_folder
from apps.site.transfer.loading.catalogue import IncomingCatalogue, read_catalogue
from apps.site.transfer.loading.loader import BundleLoader


@pytest.fixture
def rows(site, project, held, carried):
    """(bundle, document) of a bundle in quarantine with one dataset version."""
    artifact = held(b"rows")
    add_files(actor=site.builder, project=project, dataset_name="wti", files=[("a", artifact.pk, "text/plain")])
    bundle = carried("data/wti:v1")
    manifest = parse_manifest(bundle)
    text = (get_objects_folder(bundle) / manifest.head.catalogue.digest).read_bytes()
    return bundle, json.loads(text)


def test_nonsense_in_a_row_is_refused(rows, other_project, operator):
    bundle, good = rows
    manifest, folder = parse_manifest(bundle), get_objects_folder(bundle)
    version = good["dataset_versions"][0]
    cells = {
        "no list": {**good, "dataset_versions": {}},
        "no object": {**good, "dataset_versions": ["x"]},
        "objects": {**good, "objects": [["../../etc/passwd", 1]]},
        "unlisted bytes": {**good, "objects": []},
        "negative size": {**good, "objects": [["0" * 64, -1]]},
        "a path out": {**good, "dataset_versions": [{**version, "files": [["../x", version["files"][0][1], "a/b"]]}]},
        "another digest": {**good, "dataset_versions": [{**version, "digest": "0" * 64}]},
        "a text for a number": {**good, "dataset_versions": [{**version, "rows": "many"}]},
        "a name too long": {**good, "dataset_versions": [{**version, "dataset": "x" * 300}]},
        "an edge": {**good, "edges": [{"source_type": 1}]},
        "a run": {**good, "runs": [{"id": "../../x"}]},
        "a version": {**good, "model_versions": [{"model": "x"}]},
    }
    accepted = []
    for name, document in cells.items():
        try:
            catalogue = IncomingCatalogue(folder, manifest, document)
            BundleLoader(operator, other_project, catalogue, {}, []).load()
            accepted.append(name)
        except PlaneError:
            continue
    assert accepted == []


def test_a_catalogue_that_was_changed_in_quarantine_is_refused(rows):
    bundle, _ = rows
    manifest, folder = parse_manifest(bundle), get_objects_folder(bundle)
    path = folder / manifest.head.catalogue.digest
    for text in (b"{}", b"[", b""):
        path.unlink()
        path.write_bytes(text)
        with pytest.raises(PlaneError):
            read_catalogue(folder, manifest)
    assert sha256_hex("{}") != manifest.head.catalogue.digest
