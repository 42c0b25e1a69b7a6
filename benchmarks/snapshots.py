"""A second snapshot with 1 % changed against the first one, in time and space; `backup --since` is the peer.

    python benchmarks/snapshots.py --gigabytes 10 --folder /some/disk

A plane of its own in a folder: artifacts of 16 MiB and, for every hundredth of their bytes, a database of telemetry.
Changed is 1 % of the artifacts (new ones) and 1 % of the rows of the database (new ones, and as many written anew in
one stretch). Everything is what `plane snapshot create` does: dump, split, encrypt, write, make durable, read back.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

OBJECT_BYTES = 16 << 20
ROW_BYTES = 4000
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--peer", action="store_true", help="measure `backup` and `backup --since` too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        place = Path(folder)
        (place / "repository").mkdir()
        os.environ |= {
            "PLANE_HOME": str(place / "home"),
            "SNAPSHOT_DESTINATIONS": f"main={(place / 'repository').as_uri()}",
            "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        }
        import django

        django.setup()
        measure(place, int(arguments.gigabytes * 1e9), with_peer=arguments.peer)


def measure(place: Path, size: int, *, with_peer: bool) -> None:
    from django.core.management import call_command

    call_command("prepare")
    call_command("snapshot", "prepare", stdout=open(os.devnull, "w"))  # noqa: SIM115
    count, rows = size // OBJECT_BYTES, size // 100 // ROW_BYTES
    add_artifacts(count)
    add_rows(rows)
    first = create("first")
    peer_first = back_up(place / "one", None) if with_peer else 0.0
    add_artifacts(max(1, count // 100))
    add_rows(max(1, rows // 200))
    rewrite_rows(max(1, rows // 200))
    second = create("second, 1 % changed")
    peer_second = back_up(place / "two", place / "one") if with_peer else 0.0
    create("third, nothing changed")
    print(f"second of first: time {second[0] / first[0]:.1%}, space {second[1] / first[1]:.1%}")
    if with_peer:
        print(f"backup {peer_first:.1f} s, --since {peer_second:.1f} s; snapshot of it: {first[0] / peer_first:.2f}")
    began = time.monotonic()
    call_command("snapshot", "verify", "1", stdout=open(os.devnull, "w"))  # noqa: SIM115
    print(f"verify: {time.monotonic() - began:.1f} s")


def create(label: str) -> tuple[float, int]:
    """Seconds and bytes added of a snapshot."""
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.site.snapshots import services
    from workers.snapshots.runner import run_operation

    actor = build_plane_actor(PlaneRole.OPERATOR)
    operation = run_operation(actor, services.request_snapshot(actor=actor).pk)
    snapshot = operation.snapshot
    snapshot.refresh_from_db()
    assert snapshot.state == "stored", operation.error
    rate = snapshot.total_bytes / snapshot.seconds / 1e6
    print(
        f"{label}: {snapshot.seconds:.1f} s, {snapshot.added_bytes:,} of {snapshot.total_bytes:,} B ({rate:.0f} MB/s)"
    )
    return snapshot.seconds, snapshot.added_bytes


def back_up(folder: Path, since: Path | None) -> float:
    from django.core.management import call_command

    began = time.monotonic()
    call_command("backup", str(folder), since=since, stdout=open(os.devnull, "w"))  # noqa: SIM115
    seconds = time.monotonic() - began
    if since is not None:
        shutil.rmtree(since)
    return seconds


def add_artifacts(count: int) -> None:
    from apps.platform.artifacts.models import Artifact
    from apps.platform.artifacts.stores import get_store

    body = os.urandom(OBJECT_BYTES - 16)
    for _ in range(count):
        with get_store().open_staging(with_chunks=False) as staging:
            staging.write(os.urandom(16) + body)
            digest, size = staging.publish()
        Artifact.objects.create(digest=digest, size=size)


def add_rows(count: int) -> None:
    from apps.platform.nodes.models import Node, NodeHealthReport

    node, _is_new = Node.objects.get_or_create(name="bench", host="bench")
    words = [f"{random.getrandbits(64):016x}" for _ in range(4096)]
    for start in range(0, count, 500):
        NodeHealthReport.objects.bulk_create(
            NodeHealthReport(node=node, level=1, seconds=1.0, checks=random.choices(words, k=ROW_BYTES // 20))
            for _ in range(min(500, count - start))
        )


def rewrite_rows(count: int) -> None:
    from apps.platform.nodes.models import NodeHealthReport

    first = NodeHealthReport.objects.order_by("id").values_list("id", flat=True)[0]
    NodeHealthReport.objects.filter(id__lt=first + count).update(software="changed")


if __name__ == "__main__":
    main()
