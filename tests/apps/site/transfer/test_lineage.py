"""Lineage across the gap, edge by edge: what was brought is ours, what was not is named with its plane."""

import pytest
from django.urls import reverse

from apps.data.datasets.services import add_files
from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge
from apps.platform.lineage.services import record_with
from tests.apps.site.transfer.conftest import SOURCE, trust

PLANE = SOURCE.id[:12]


@pytest.fixture
def chain(site, project, registered, held):
    """A version whose variant a job made, of a dataset version and of another plane's model, all as edges."""
    version = registered(names=("fp32",))
    artifact = held(b"rows")
    data, _ = add_files(
        actor=site.builder, project=project, dataset_name="wti", files=[("a", artifact.pk, "text/plain")]
    )
    variant = version.variants.get()
    Edge.objects.all().delete()
    ends = {
        "data": End("dataset_version", str(data.pk), data.digest, "wti v1"),
        "base": End("model_version", "77", "5" * 64, "base v7"),
        "job": End("job", "41", "6" * 64, "train 41"),
        "variant": End("variant", str(variant.pk), variant.artifact_id, "fp32"),
        "version": End("model_version", str(version.pk), version.digest, str(version)),
    }
    ways = [
        ("data", "job", "table"),
        ("base", "job", "init"),
        ("job", "variant", "fp32"),
        ("variant", "version", "fp32"),
    ]
    record_with(project, [EdgeSpec.between(ends[source], ends[target], role) for source, target, role in ways])
    return version, data


def forget_runs():
    for run in Run.objects.all():
        run.model_versions.update(run=None)
        run.delete()


def list_edges(project):
    """{role: (source type, id, digest, label), (target ...)} of the edges that the source had."""
    rows = Edge.objects.filter(project=project).exclude(role="bundle")
    return {
        (row.source_type, row.role): (
            (row.source_type, row.source_id, row.source_digest, row.source_label),
            (row.target_type, row.target_id, row.target_digest),
        )
        for row in rows
    }


@pytest.mark.parametrize("brings_data", [False, True])
def test_every_edge_arrives(site, chain, other_project, build, receive, check, load, web, brings_data):
    trust(other_project, "Ada", "Bo")
    _version, data = chain
    built = build("model/wti-forecast:v1", *(["data/wti:v1"] if brings_data else []))
    forget_runs()
    load(check(receive(*built)))
    arrived = ModelVersion.objects.get(model__project=other_project)
    variant = Variant.objects.get(version=arrived)
    job = ("foreign_job", f"{PLANE}.job.41", "6" * 64)
    base = ("foreign_dataset", f"{PLANE}.model_version.77", "5" * 64, "model version base v7 (source)")
    if brings_data:
        mine = other_project.datasets.get().versions.get()
        source = ("dataset_version", str(mine.pk), data.digest, "wti v1")
    else:
        source = ("foreign_dataset", f"{PLANE}.dataset_version.{data.pk}", data.digest, "wti v1 (source)")
    ours = ("variant", str(variant.pk), variant.artifact_id)
    assert list_edges(other_project) == {
        (source[0], "table"): (source, job),
        ("foreign_dataset", "init"): (base, job),
        ("foreign_job", "fp32"): ((*job, "train 41 (source)"), ours),
        ("variant", "fp32"): ((*ours, str(variant)), ("model_version", str(arrived.pk), arrived.digest)),
    }
    page = web(site.decider_user).get(reverse("lineage:end", args=["other", *base[:2]])).content.decode()
    assert "model version base v7 (source)" in page
    assert "5" * 12 in page


def test_a_lineage_that_is_cut_is_said(site, chain, other_project, build, receive, check, monkeypatch):
    trust(other_project, "Ada", "Bo")
    from apps.site.transfer.export import catalogue

    fetch = catalogue.fetch_graph
    monkeypatch.setattr(catalogue, "fetch_graph", lambda *args, **options: fetch(*args, **options, limit=2))
    bundle = check(receive(*build("model/wti-forecast:v1")))
    details = [row["detail"] for row in bundle.preview["rows"] if row["kind"] == "lineage"]
    assert len(details) == 1
    assert details[0].startswith("cut at")
