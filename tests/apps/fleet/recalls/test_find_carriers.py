from __future__ import annotations

import struct

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile
from apps.fleet.recalls.carriers import find_carriers
from apps.fleet.recalls.queries import KINDS, list_carrier_rows, preview_recall
from apps.fleet.recalls.subjects import find_subject
from tests.apps.fleet.recalls.conftest import add_dataset_version, link, train_on

pytestmark = pytest.mark.django_db


@pytest.fixture
def find(project, actor_for, engineer):
    """find(type, id, row) -> what carries it."""

    def walk(type, id, row=None):
        actor = actor_for(engineer)
        return find_carriers(actor, project, find_subject(actor, project, type, str(id), row))

    return walk


@pytest.fixture
def derive(project, job_of, held):
    """derive(source, number, runs=None, keeps_rows=False) -> a version that a job made of another; its lineage."""

    def make(source, number, runs=None, **facts):
        job = job_of("clean")
        if runs is not None:
            facts["origins"] = held(b"".join(struct.pack("<QQ", *run) for run in runs))
        made = add_dataset_version(project, number, origin_version=source, job_id=job.pk, **facts)
        link(project, ("dataset_version", source.pk), ("job", job.pk))
        link(project, ("job", job.pk), ("dataset_version", made.pk))
        return made

    return make


def test_of_a_row_what_contains_it_what_may_and_what_does_not(find, derive, project, dataset_version, registered):
    """Of ten rows a first cleaning keeps all, a second the first five, a third does not tell."""
    keeps = derive(dataset_version, 2, keeps_rows=True)
    drops = derive(dataset_version, 3, runs=[(0, 0)], rows=5)
    silent = derive(dataset_version, 4)
    versions = {}
    for source in (dataset_version, keeps, drops, silent):
        versions[source.number] = registered()
        train_on(project, source, versions[source.number])
    carriers = find("dataset_version", dataset_version.pk, 7)
    assert carriers.exact_version_ids == {versions[1].pk, versions[2].pk}
    assert carriers.version_ids - carriers.exact_version_ids == {versions[4].pk}
    assert carriers.cleared == {drops.pk}
    assert [(rows.version.pk, rows.rows) for rows in carriers.rows] == [(keeps.pk, [7])]
    assert find("dataset_version", dataset_version.pk, 3).exact_version_ids >= {versions[3].pk}
    assert find("dataset_version", dataset_version.pk).exact_version_ids == {row.pk for row in versions.values()}


def test_a_version_that_others_went_into_too_is_not_cleared(find, derive, project, dataset_version, registered):
    drops = derive(dataset_version, 2, runs=[(0, 0)], rows=5)
    other = add_dataset_version(project, 3)
    link(project, ("dataset_version", other.pk), ("job", drops.job_id))
    version = registered()
    train_on(project, drops, version)
    carriers = find("dataset_version", dataset_version.pk, 7)
    assert (carriers.cleared, carriers.version_ids, carriers.exact_version_ids) == (set(), {version.pk}, set())


def test_of_a_model_version_what_was_made_from_its_bytes(find, project, registered):
    first, second = registered(), registered()
    link(project, ("artifact", first.variants.first().artifact_id), ("job", second.variants.first().job_id))
    variant = second.variants.first()
    link(project, ("job", variant.job_id), ("artifact", variant.artifact_id))
    assert find("model_version", first.pk).version_ids == {first.pk, second.pk}
    assert find("model_version", second.pk).version_ids == {second.pk}


def test_the_preview_counts_what_its_lists_hold(project, actor_for, engineer, dataset_version, bad, returning_device):
    actor = actor_for(engineer)
    preview = preview_recall(actor, project, find_subject(actor, project, "dataset_version", str(dataset_version.pk)))
    lengths = {kind: list_carrier_rows(actor, project, preview, kind).count() for kind in KINDS}
    assert lengths == preview.counts
    assert {"model_version": 1, "release": 1, "device": 1, "alias": 1}.items() <= preview.counts.items()


def test_a_row_by_the_value_of_a_column(project, actor_for, engineer, dataset_version, held):
    table = held(b"sensor,level\n7,1.5\n8,2.5\n8,3.5\n")
    media_type = "text/csv; header=present; charset=utf-8; delimiter=,"
    DatasetFile.objects.create(version=dataset_version, path="t.csv", artifact=table, media_type=media_type)
    actor, version = actor_for(engineer), str(dataset_version.pk)
    assert find_subject(actor, project, "dataset_version", version, "sensor=7").row == 1
    answers = {}
    for row in ("sensor=9", "sensor=8", "speed=1"):
        with pytest.raises(Invalid) as error:
            find_subject(actor, project, "dataset_version", version, row)
        answers[row] = error.value.limit
    expected = {"sensor=9": "a value that one row has", "sensor=8": "one of the rows 2, 3", "speed=1": "sensor, level"}
    assert answers == expected
