"""A catalogue that two people signed may still be nonsense: it is refused, and nothing of it is written."""

import json
import math

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.canonical import sha256_hex
from apps.core.errors import PlaneError
from apps.data.datasets.services import add_files
from apps.ml.experiments.metrics.series import compute_run_digest, extend_digest
from apps.ml.experiments.models import Metric, Run, RunArtifact
from apps.site.transfer import services
from apps.site.transfer.facts import parse_manifest
from apps.site.transfer.folders import get_objects_folder
from apps.site.transfer.loading.catalogue import KINDS, IncomingCatalogue, build_missing_error, read_catalogue
from apps.site.transfer.loading.integrity import (
    check_contents,
    check_file_name,
    check_member_path,
    check_named_files,
    check_series,
)
from apps.site.transfer.loading.loader import BundleLoader
from tests.apps.site.transfer.conftest import SOURCE, become, trust


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
        "rows of parts that it has not": {**good, "dataset_versions": [{**version, "part_rows": {"b.parquet": 1}}]},
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


def test_rows_that_the_manifest_does_not_list_are_refused(rows):
    bundle, good = rows
    manifest, version = parse_manifest(bundle), good["dataset_versions"][0]
    empty = {kind: [] for kind in KINDS}
    cells = {
        "as they are": {**good},
        "a package beside": {**good, "packages": [{"filename": "pump.whl", "artifact": "0" * 64}]},
        "advisories beside": {**good, "advisories": [{"name": "osv"}]},
        "twice": {**good, "dataset_versions": [version, version]},
        "another": {**good, "dataset_versions": [{**version, "digest": "0" * 64}]},
        "none": {},
    }
    accepted = []
    for name, document in cells.items():
        try:
            check_contents(manifest, {**empty, **document})
            accepted.append(name)
        except PlaneError:
            continue
    assert accepted == ["as they are"]


def test_a_model_carries_the_bytes_that_its_document_names():
    named = {"name": "fp32", "file": "model.bin", "model": "1" * 64, "manifest": "2" * 64}
    row = {key: named[key] for key in ("name", "file", "manifest")} | {"artifact": "1" * 64}
    document = {"variants": [named], "files": [{"path": "MLmodel", "sha256": "3" * 64}]}
    good = {"document": json.dumps(document), "variants": [row], "files": [["MLmodel", "3" * 64, 1, "text/plain"]]}
    check_named_files(good)
    for change in (
        {"variants": [{**row, "artifact": "9" * 64}]},
        {"variants": [row, {**row, "name": "int8"}]},
        {"files": [["MLmodel", "9" * 64, 1, "text/plain"]]},
        {"files": [["other", "3" * 64, 1, "text/plain"]]},
    ):
        with pytest.raises(PlaneError):
            check_named_files({**good, **change})


def test_points_are_those_that_the_signed_digest_names():
    metric = {"key": "loss", "count": 2, "digest": extend_digest(extend_digest("", 1, 0.5), 2, math.nan)}
    good = [{**metric, "points": [[1, 0.5, False, None], [2, 0.0, True, None]]}]
    row = {"metrics_digest": compute_run_digest([Metric(**metric)])}
    check_series(row, good)
    check_series(row, [{**good[0], "points": good[0]["points"][:1]}])  # thinned: its metric is still the digest's
    for series in (
        [],
        [{**good[0], "count": 3}],
        [{**good[0], "digest": "0" * 64}],
        [{**good[0], "points": [[1, 0.25, False, None], [2, 0.0, True, None]]}],
        {"loss": 1},
        [{"key": "loss"}],
    ):
        with pytest.raises(PlaneError):
            check_series(row, series)


def test_a_wide_bundle_takes_no_more_statements(
    site, project, other_project, held, build, receive, check, operator, registered
):
    """Of data and of a run's files alike: the statements of a load do not grow with the files."""
    trust(other_project, "Ada", "Bo")
    version, counts = registered(), []
    for width in (2, 12):
        files = [(f"{n}", held(f"{width} {n}".encode()).pk, "text/plain") for n in range(width)]
        become(SOURCE)
        add_files(actor=site.builder, project=project, dataset_name=f"wide-{width}", files=files)
        run = Run.objects.create(
            pk=f"{width:032d}",
            project=project,
            experiment=version.run.experiment,
            name="wide",
            state="finished",
            started_at=version.run.started_at,
            ended_at=version.run.started_at,
        )
        RunArtifact.objects.bulk_create(
            RunArtifact(run=run, path=f"{n}.txt", artifact=held(f"{n} of {width}".encode()), size=4)
            for n in range(width)
        )
        built = build(f"data/wide-{width}:v1", f"run/{run.pk}")
        run.delete()
        bundle = check(receive(*built))
        assert bundle.state == "checked", bundle.error
        catalogue = read_catalogue(get_objects_folder(bundle), parse_manifest(bundle))
        with CaptureQueriesContext(connection) as queries:
            BundleLoader(operator, other_project, catalogue, {}, []).load()
        assert RunArtifact.objects.filter(run__project=other_project).count() >= width
        counts.append(len(queries))
    assert counts[1] <= counts[0]  # the first one makes the experiment too


def test_paths_lead_nowhere_else():
    assert check_member_path("plots/a b.txt") == "plots/a b.txt"
    assert check_file_name("model.bin") == "model.bin"
    for check, names in (
        (check_member_path, ("", "/etc/x", "../x", "a/../../x", "a//b", "./a", "%2e%2e/x", "c:\\x", "a\0")),
        (check_file_name, ("a/b", "..", "")),
    ):
        for name in names:
            with pytest.raises(PlaneError):
                check(name)


def test_nonsense_that_no_check_names_is_refused_and_not_tried_for_ever(rows, site, monkeypatch):
    bundle, _ = rows
    services.request_check(actor=site.receiver, bundle=bundle)

    faults = iter([TypeError("'list' object cannot be a name"), build_missing_error("a\0")])

    def fail(*_):
        raise next(faults)

    monkeypatch.setattr("apps.site.transfer.services.checking.build_preview", fail)
    for _ in range(2):
        services.drive_bundles(actor=site.worker)
        bundle.refresh_from_db()
        assert (bundle.state, bundle.error["code"]) == ("refused", "catalogue_malformed")
        services.request_check(actor=site.receiver, bundle=bundle)


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
