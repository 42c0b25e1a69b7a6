"""Scratch databases of restore drills on PostgreSQL: what a killed drill leaves is dropped, and nothing else."""

from __future__ import annotations

import pytest
from django.db import connection

from apps.site.snapshots import services
from apps.site.snapshots.models import SnapshotOperation
from tests.apps.site.snapshots.conftest import DISPATCHER, actor, destinations, store_snapshot  # noqa: F401
from workers.snapshots import drill

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def postgresql(db):
    if connection.vendor != "postgresql":
        pytest.skip("of PostgreSQL alone")
    yield
    for name in list_databases("restore_drill_"):
        drill.drop_database(name)


def list_databases(prefix):
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [prefix])
        return [name for (name,) in cursor.fetchall()]


def test_what_killed_drills_left_is_dropped(postgresql, actor):  # noqa: F811
    """Not the one of a drill at work, nor that of another plane on the same server."""
    store_snapshot(actor)
    services.request_drill(actor=actor)
    running = services.claim_operation(actor=DISPATCHER)
    prefix, other = drill.build_scratch_prefix(), "restore_drill_00000000_7"
    for name in f"{prefix}{running.pk}", f"{prefix}{running.pk + 1}", f"{prefix}{running.pk + 2}", other:
        drill.run_statement(f'CREATE DATABASE "{name}" TEMPLATE template0')
    assert len(drill.drop_abandoned_databases()) == 2
    assert list_databases("restore_drill_") == sorted([other, f"{prefix}{running.pk}"])
    with drill.open_database(running.pk) as address:  # the next attempt of the same drill begins with an empty one
        assert address.endswith(f"/{prefix}{running.pk}")
    SnapshotOperation.objects.update(state="failed")
    assert drill.drop_abandoned_databases() == []
    assert list_databases("restore_drill_") == [other]
