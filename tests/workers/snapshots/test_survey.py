"""Snapshots of which the database knows nothing: counted by retention, left alone, or named as unreadable."""

from __future__ import annotations

import pytest

from apps.platform.notices.models import Notice
from apps.site.snapshots import services
from apps.site.snapshots.models import Snapshot
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.repository import SnapshotIndex
from tests.apps.site.snapshots.conftest import DISPATCHER, actor, destinations, store_snapshot  # noqa: F401
from tests.deepseek.snapshots.conftest import place  # noqa: F401
from workers.snapshots.maintenance import remove_snapshot
from workers.snapshots.progress import Progress
from workers.snapshots.survey import adopt_strangers, survey_repository

pytestmark = pytest.mark.django_db


def take_root(repository, name, **about):
    """A snapshot of nothing much."""
    entry = repository.add_index(SnapshotIndex({}, repository.add_file([])))
    made = {"made_at": "2026-10-01T00:00:00+00:00", "artifacts": 0, "total_bytes": 5}
    repository.commit(name, entry, {**made, **about})


def remove(actor, repository, name):  # noqa: F811
    """Remove it; the code of the failure, if any."""
    operation = services.request_removal(actor=actor, snapshot=Snapshot.objects.get(name=name))
    operation = services.claim_operation(actor=DISPATCHER, pk=operation.pk)
    try:
        remove_snapshot(DISPATCHER, operation, repository, Progress(DISPATCHER, operation))
    except SnapshotError as failure:
        services.finish_operation(actor=DISPATCHER, operation=operation, error=failure)
        return failure.code
    services.finish_operation(actor=DISPATCHER, operation=operation)
    return ""


@pytest.fixture
def repository(place):  # noqa: F811
    return place.open()


def test_retention_counts_what_the_database_forgot(actor, repository, place):  # noqa: F811
    """Of before a restore, and of an attempt that died before the plane knew of its snapshot."""
    known = store_snapshot(actor)
    Snapshot.objects.update(repository_id=repository.repository_id)
    for name, about in {
        known.name: {},
        "a" * 32: {"operation": "7 2026-09-01"},
        "b" * 32: {"plane": "another"},
    }.items():
        take_root(repository, name, **about)
    for _ in range(2):
        adopt_strangers(DISPATCHER, repository, "main", survey_repository(repository))
    rows = dict(Snapshot.objects.values_list("name", "state"))
    assert rows == {known.name: "stored", "a" * 32: "stored"}
    removed = services.trim_snapshots(actor=DISPATCHER, destination="main", keep=1)
    assert [operation.snapshot.name for operation in removed] == ["a" * 32]


def test_unreadable_one_is_announced_and_can_be_removed(actor, repository, place, sysadmin):  # noqa: F811
    """Nothing is removed from the repository while one cannot be read: somebody has to learn of it."""
    known = store_snapshot(actor)
    Snapshot.objects.update(repository_id=repository.repository_id)
    take_root(repository, known.name)
    (place.root / "snapshots" / ("f" * 32)).write_bytes(b"garbage")
    (place.root / "snapshots" / known.name).write_bytes(b"garbage")
    survey = survey_repository(repository)
    assert (survey.records, survey.unreadable) == ((), tuple(sorted([known.name, "f" * 32])))
    for _ in range(2):
        adopt_strangers(DISPATCHER, repository, "main", survey)
    assert set(Snapshot.objects.values_list("state", flat=True)) == {"damaged"}
    assert Notice.objects.filter(kind="snapshot.damaged", recipient=sysadmin, read_at=None).count() == 2
    assert services.trim_snapshots(actor=DISPATCHER, destination="main", keep=1) == []
    outcomes = [remove(actor, repository, name) for name in (known.name, "f" * 32)]
    assert outcomes == ["snapshot_damaged", ""]  # the other one is in the way of the first
    assert set(Snapshot.objects.values_list("state", flat=True)) == {"removed"}
    assert not Notice.objects.filter(read_at=None).exists()
    assert repository.collect() == (0, 0)
