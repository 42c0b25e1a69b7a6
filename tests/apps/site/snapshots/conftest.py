"""A plane with two destinations, and snapshots as the process that writes them leaves them."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.site.snapshots import services
from apps.site.snapshots.layout import Manifest
from apps.site.snapshots.models import Snapshot

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER, host="test")
MANIFEST = Manifest("2026-11-01T00:00:00+00:00", "sqlite", [], {"seq": 7}, 3, 30)


@pytest.fixture
def browser(web):
    """The other name of `web`; below this folder nobody drives a real browser, whose fixture has this name."""
    return web


@pytest.fixture
def destinations(settings):
    urls = ["main=file:///nowhere", "vault=s3://b/p"]
    settings.ENV = settings.ENV.model_copy(update={"snapshot_destinations": urls})


@pytest.fixture
def actor(actor_for, sysadmin, destinations):
    return actor_for(sysadmin)


def store_snapshot(actor, **fields) -> Snapshot:
    operation = services.request_snapshot(actor=actor, **fields)
    operation = services.claim_operation(actor=DISPATCHER, pk=operation.pk)
    services.record_stored(
        actor=DISPATCHER,
        snapshot=operation.snapshot,
        name=f"{operation.pk:032x}",
        repository_id="r" * 32,
        manifest=MANIFEST,
        total_bytes=99,
        added_objects=2,
        added_bytes=9,
        seconds=1.5,
    )
    services.finish_operation(actor=DISPATCHER, operation=operation, result={"missing": 0})
    return Snapshot.objects.get(pk=operation.snapshot_id)
