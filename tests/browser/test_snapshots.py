"""Pages of snapshots and environments: the empty ones say what to do, and each is usable at 390 px in the dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

SEED = """
from django.utils import timezone
from apps.platform.nodes.models import Node
from apps.site.snapshots.models import NodeEnvironment, Snapshot, SnapshotOperation
now = timezone.now()
facts = dict(destination="main", requested_by="sysadmin", made_at=now, total_bytes=10**10, added_bytes=10**8)
first = Snapshot.objects.create(state="stored", name="1" * 32, verified_at=now, **facts)
Snapshot.objects.create(state="damaged", name="2" * 32, damaged=["ab" * 32], **facts)
result = dict(rto_seconds=42.0, rpo_seconds=3600.0, sealed=900, artifacts=100, job="succeeded")
SnapshotOperation.objects.create(snapshot=first, destination="main", kind="drill", state="succeeded", result=result,
    requested_by="sysadmin", ended_at=now)
for name, version in ("env-1", "2.12"), ("env-2", "2.13"):
    node = Node.objects.create(name=name, host=name)
    NodeEnvironment.objects.create(node=node, digest="d" * 64, document={{"packages": {{"torch": version}}}})
"""
REMOVE_NODES = """
from apps.platform.nodes.models import Node
from apps.site.snapshots.models import NodeEnvironment
NodeEnvironment.objects.filter(node__name__in=["env-1", "env-2"]).delete()
Node.objects.filter(name__in=["env-1", "env-2"]).delete()
"""


@pytest.fixture
def seed(run_code):
    """seed() writes the rows of SEED; its nodes go at the end, as other tests of this plane count on one node."""
    yield lambda: run_code(SEED.format())
    run_code(REMOVE_NODES)


def test_snapshots_are_read_and_environments_compared(plane, signed_in, seed):
    page = signed_in("sysadmin")
    page.goto(f"{plane}/snapshots")
    expect(page.get_by_text("what is lost now is lost for good")).to_be_visible()
    expect(page.get_by_text("plane snapshot prepare")).to_be_visible()
    seed()
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.reload()
    expect(page.get_by_text("The last restore drill passed.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("link", name="#2").click()
    expect(page.get_by_text("1 object is damaged")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.goto(f"{plane}/environments")
    page.locator("#fleft").fill("node:env-1")
    page.locator("#fright").fill("node:env-2")
    page.locator("#fright").press("Enter")
    expect(page.get_by_text("1 difference")).to_be_visible()
    expect(page.get_by_role("cell", name="2.13")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
