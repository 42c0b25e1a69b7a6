"""A trail of a few records, the sealer, and the database as its owner can make it."""

from __future__ import annotations

import pytest
from django.db import connection

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.services import record
from apps.platform.audit.triggers import disable_triggers


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    """Keys and checkpoints of this test only."""
    settings.PLANE_HOME = tmp_path / "home"
    return settings.PLANE_HOME


@pytest.fixture
def dispatcher() -> Actor:
    return build_plane_actor(PlaneRole.DISPATCHER)


@pytest.fixture
def somebody() -> Actor:
    return Actor(kind="user", label="somebody", user_id=7, address="192.0.2.7", request_id="r-7")


@pytest.fixture
def write(somebody):
    """write(n) -> n unsealed records."""
    return lambda n: [record(actor=somebody, action="thing.change", object_type="thing", object_id=i) for i in range(n)]


@pytest.fixture
def chain(db, write, dispatcher):
    """Ten sealed records and the checkpoint that was written with them."""
    write(10)
    assert run_sealer_round(dispatcher) == 10
    return AuditRecord.objects.order_by("seq")


@pytest.fixture
def owner():
    """owner(sql, *params): run a statement as whoever owns the database would, without the triggers."""

    def run(*statements):
        with disable_triggers(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return run
