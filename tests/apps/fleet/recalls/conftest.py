"""Two versions of a model that are released, the second of which is trained on data that is recalled; devices that had
the first and run the second."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.services import advance_recall, start_recall
from apps.fleet.recalls.subjects import find_subject
from apps.platform.lineage.models import Edge
from tests.apps.fleet.devices.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    assign,
    build_enrolment,
    build_receipt,
    create_token,
    default_experiment,
    enrol,
    fetch,
    find_records,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    operator,
    receive,
    registered,
    report,
    store_files,
)

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def dataset_version(project):
    """A version of a dataset that nothing is made of yet."""
    return add_dataset_version(project, 1)


def add_dataset_version(project, number, **facts):
    dataset = Dataset.objects.get_or_create(project=project, name="wti", defaults={"created_by": "x"})[0]
    facts = {"manifest": "{}", "media_type": "text/csv", "rows": 10, "size": 1, "created_by": "x", **facts}
    return DatasetVersion.objects.create(dataset=dataset, number=number, digest=f"{number:064x}", **facts)


def link(project, source, target):
    """An edge of lineage, between two (type, id)."""
    facts = {
        "source_type": source[0],
        "source_id": str(source[1]),
        "target_type": target[0],
        "target_id": str(target[1]),
    }
    return Edge.objects.create(project=project, role="x", **facts)


def train_on(project, dataset_version, version):
    """The lineage of a version that was trained on a dataset version: by the job that made its first form."""
    variant = version.variants.order_by("pk").first()
    link(project, ("dataset_version", dataset_version.pk), ("job", variant.job_id))
    link(project, ("job", variant.job_id), ("artifact", variant.artifact_id))


@pytest.fixture
def good(make_variant, approved):  # noqa: F811
    """A compiled variant that was in production before."""
    variant = make_variant()
    approved(variant.version)
    return variant


@pytest.fixture
def bad(good, make_variant, approved, project, dataset_version):  # noqa: F811
    """A compiled variant of the next version, in production now, trained on `dataset_version`."""
    variant = make_variant()
    approved(variant.version)
    train_on(project, dataset_version, variant.version)
    return variant


@pytest.fixture
def install(assign, fetch, receive):  # noqa: F811
    """install(device, release): the device is assigned it, fetches it and proves that it runs it."""

    def run(device, release):
        assignment = assign(device, release)
        fetch(device)
        receive(device, release, assignment)
        return assignment

    return run


@pytest.fixture
def releases(good, bad, issue):  # noqa: F811
    """The releases of both, without samples."""
    return [issue(variant, without_samples=True) for variant in (good, bad)]


@pytest.fixture
def returning_device(enrol, install, releases):  # noqa: F811
    """A device that had the good release and runs the bad one."""
    device = enrol("press-1")
    for release in releases:
        install(device, release)
    return device


@pytest.fixture
def start(project, actor_for, engineer, dataset_version):
    """start(type, id, row, who=engineer, ...) -> the recall; of `dataset_version` where nothing is named."""

    def begin(type="dataset_version", id=None, row=None, who=None, where=None, **more) -> Recall:
        actor = actor_for(who or engineer)
        subject = find_subject(actor, where or project, type, str(id or dataset_version.pk), row)
        return start_recall(actor=actor, project=where or project, subject=subject, **{"reason": "wrong units", **more})

    return begin


@pytest.fixture
def advance():
    """advance(recall) -> the recall after a round of the dispatcher, whenever it is due."""

    def step(recall) -> Recall:
        make_due(recall)
        advance_recall(actor=DISPATCHER, recall=Recall.objects.select_related("project").get(pk=recall.pk))
        recall.refresh_from_db()
        return recall

    return step


def make_due(recall):
    Recall.objects.filter(pk=recall.pk).update(next_at="2020-01-01T00:00:00Z")


def outcomes(recall, kind):
    """{label: outcome} of the recall's items of a kind."""
    return dict(recall.items.filter(kind=kind).values_list("label", "outcome"))
