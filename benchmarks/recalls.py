"""What a recall costs on a large fleet: its pages, its preview, and the batches that send devices back.

    python benchmarks/recalls.py [--devices 100000] [--rounds 10]            SQLite, a home of its own

In this process, by Django's test client. Every device had a first release and runs a second one, whose model version is
recalled. Times of pages are CPU time of this process, medians of `rounds`; those of rounds of the dispatcher elapsed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
BATCH = 5000


def seed(devices: int) -> int:
    """The key of the model version that every device runs."""
    from django.utils import timezone

    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.core.canonical import sha256_hex
    from apps.fleet.devices.models import Assignment, Device, DeviceCount
    from apps.fleet.releases.models import Release
    from apps.fleet.releases.services import create_key
    from apps.ml.registry.models import Model, Variant
    from apps.platform.accounts.models import User
    from apps.platform.approvals.models import Vote
    from apps.platform.artifacts.models import Artifact
    from apps.platform.artifacts.stores import get_store
    from tests import walking

    project = walking.people_and_project()
    key = create_key(actor=build_plane_actor(PlaneRole.OPERATOR))
    approval = walking.approval_of(project, "approved", 0)
    approval.save()
    vote = {"label": "approver", "decision": "approve", "reason": "x", "method": "password"}
    Vote.objects.create(approval=approval, user=User.objects.get(username="engineer"), **vote)
    model = Model.objects.create(project=project, name="wti", created_by="x", versions_count=2)
    releases = []
    for number in (1, 2):
        with get_store().open_staging() as staging:
            staging.write(f"model {number}".encode())
            digest, size = staging.publish()
        artifact = Artifact.objects.create(digest=digest, size=size)
        version = walking.model_version_of(model, number)
        version.save()
        files = {"file": "model.onnx", "artifact": artifact, "manifest": artifact}
        variant = Variant.objects.create(version=version, name="onnx", format="onnx", size=size, **files)
        facts = {"model": model, "model_name": "wti", "format": "onnx", "architecture": "any", "envelope": "{}"}
        facts |= {"key": key, "approval": approval, "created_by": "x", "sequence": number, "variant": variant}
        releases.append(Release.objects.create(project=project, payload_digest=sha256_hex(f"r{number}"), **facts))
    first, second = releases
    now = timezone.now()
    for start in range(0, devices, BATCH):
        numbers = range(start, min(start + BATCH, devices))
        rows = Device.objects.bulk_create(
            Device(
                project=project, name=f"d{n}", token_digest=sha256_hex(f"d{n}"), running=second, architecture="x86_64"
            )
            for n in numbers
        )
        done = {"state": "succeeded", "limit_seconds": 60, "ended_at": now, "project": project, "created_by": "x"}
        Assignment.objects.bulk_create(
            Assignment(device=row, release=release, **done) for row in rows for release in (first, second)
        )
    DeviceCount.objects.create(project=project, state="active", release_id=second.pk, devices=devices)
    return second.variant.version_id


def measure(call: Callable[[], Any], rounds: int) -> float:
    """Median CPU time of this process, in ms."""
    call()
    times = []
    for _ in range(rounds):
        started = time.process_time()
        call()
        times.append((time.process_time() - started) * 1e3)
    return statistics.median(times)


def run(devices: int, rounds: int) -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    version = seed(devices)
    print(f"seeded {devices:,} devices in {time.perf_counter() - started:.0f} s")
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.fleet.recalls.models import Recall
    from apps.fleet.recalls.services import advance_recall
    from tests import walking

    people = walking.visitors()
    client = people[0].client
    search = f"/p/demo/recalls/search?type=model_version&id={version}"
    pages = {
        "search page": search,
        "search page, its devices": f"{search}&kind=device",
        "REST preview": f"/api/v1/projects/demo/recalls/preview?type=model_version&id={version}",
        "REST carriers, devices": f"/api/v1/projects/demo/recalls/carriers?type=model_version&id={version}&kind=device",
    }

    def report(names: dict[str, str]) -> None:
        for name, path in names.items():
            assert client.get(path).status_code == 200, path
            print(f"{name}: {measure(lambda path=path: client.get(path), rounds):.0f} ms CPU")

    report(pages)
    started = time.perf_counter()
    answer = client.post(search, {"reason": "wrong units"})
    assert answer.status_code == 302, answer.content[:500]
    print(f"start, until the versions are blocked: {(time.perf_counter() - started) * 1e3:.0f} ms")
    recall = Recall.objects.select_related("project").get()
    dispatcher = build_plane_actor(PlaneRole.DISPATCHER)
    for name in ("round that sends the devices back", "round in which nothing has come"):
        Recall.objects.filter(pk=recall.pk).update(next_at="2020-01-01T00:00:00Z")
        recall.refresh_from_db()
        started = time.perf_counter()
        advance_recall(actor=dispatcher, recall=recall)
        print(f"{name}: {time.perf_counter() - started:.1f} s")
    recall.refresh_from_db()
    print(
        f"state {recall.state}, errors {recall.errors}, devices {recall.devices.filter(outcome='returning').count():,}"
    )
    report({"report page": f"/p/demo/recalls/{recall.pk}", "REST report": f"/api/v1/projects/demo/recalls/{recall.pk}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bench-recalls-"))
    os.environ.update(PLANE_HOME=str(home), LOG_LEVEL="ERROR")
    try:
        import django

        django.setup()
        run(arguments.devices, arguments.rounds)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
