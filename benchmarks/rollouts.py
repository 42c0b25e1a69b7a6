"""How long a plan over a whole fleet takes: which device is in which wave, and a row for each.

    python benchmarks/rollouts.py [--devices 100000] [--rounds 3]

Makes a plane of its own in a folder that is deleted at the end; with DATABASE_URL set, in that database, which has to
be empty. Every device has a tag that strata are made by. Alternating, in the same run: the same rows by Django's
`bulk_create` in batches of 1,000, which is the usual way. Then the pages of that rollout in its first wave.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
AIM_SECONDS = 5.0


def seed(devices: int) -> Any:
    """A draft of a rollout to so many devices."""
    from apps.core.canonical import sha256_hex
    from apps.fleet.devices.models import Device, DeviceLabel
    from apps.fleet.rollouts.models import Rollout, RolloutVariant
    from apps.fleet.rollouts.schemas import RolloutPlan
    from apps.ml.registry.models import Variant
    from tests import walking

    plane = walking.first_rows()
    variant = Variant.objects.select_related("version__model").get(pk=plane.variant)
    project_id = variant.version.model.project_id
    facts = {"project_id": project_id, "architecture": "x86_64", "created_by": "benchmark"}
    rows = Device.objects.bulk_create(
        (Device(name=f"d-{n}", token_digest=sha256_hex(f"d-{n}"), **facts) for n in range(devices)), batch_size=2_000
    )
    DeviceLabel.objects.bulk_create(
        (
            DeviceLabel(device=device, project_id=project_id, kind="tag", key="line", value=str(n % 20))
            for n, device in enumerate(rows)
        ),
        batch_size=2_000,
    )
    plan = RolloutPlan.model_validate({"stratify_by": ["tag.line"]}).model_dump(mode="json")
    about = {"version": variant.version, "model_name": "wti", "created_by": "benchmark"}
    rollout = Rollout.objects.create(project_id=project_id, plan=plan, query="name LIKE 'd-%'", **about)
    RolloutVariant.objects.create(rollout=rollout, architecture="x86_64", variant=variant, digest=variant.artifact_id)
    return rollout


def insert_by_orm(rollout: Any, waves: Any, places: Any) -> None:
    """The alternative: Django's own way."""
    from apps.fleet.rollouts.models import RolloutDevice

    RolloutDevice.objects.bulk_create(
        (
            RolloutDevice(
                rollout=rollout,
                device_id=each.device,
                wave=None if wave is None else waves[wave],
                rank=rank,
                stratum=each.stratum,
                architecture=each.architecture,
                previous_id=each.previous,
            )
            for each, rank, wave in places
        ),
        batch_size=1_000,
    )


def measure(work: Callable[[], Any]) -> tuple[float, float]:
    """(seconds by the clock, seconds of this process's processor)."""
    begin, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - used


def begin(rollout: Any) -> None:
    """The rollout as it is after its first wave, with a look of the gate."""
    from django.utils import timezone

    from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice
    from apps.fleet.rollouts.states import RolloutState, Stage, WaveState

    wave = rollout.waves.first()
    members = RolloutDevice.objects.filter(rollout=rollout)
    members.update(is_active=True)
    members.filter(wave=wave).update(stage=Stage.INSTALLED, installed_at=timezone.now())
    rollout.waves.filter(pk=wave.pk).update(
        state=WaveState.RUNNING, counts={Stage.INSTALLED: wave.devices}, started_at=timezone.now(), looks=1
    )
    document = Look.objects.exclude(document={}).values_list("document", flat=True).first()
    about = {"number": 1, "at": timezone.now(), "is_final": False, "verdict": "hold", "evidence_digest": "0" * 64}
    if document is not None:
        Look.objects.create(wave=wave, document=document, **about)
    Rollout.objects.filter(pk=rollout.pk).update(state=RolloutState.RUNNING)


def time_pages(rollout: Any, rounds: int) -> None:
    """Medians of the rollout's pages, by Django's test client in this process."""
    from tests import walking

    client = next(each.client for each in walking.visitors() if each.name == "engineer")
    pages = {
        "rollout page": f"/p/demo/rollouts/{rollout.pk}",
        "its devices": f"/p/demo/rollouts/{rollout.pk}/devices",
        "installed devices": f"/p/demo/rollouts/{rollout.pk}/devices?stage=installed",
        "rollouts": "/p/demo/rollouts",
        "REST": f"/api/v1/projects/demo/rollouts/{rollout.pk}",
    }
    for name, path in pages.items():
        assert client.get(path).status_code == 200, path
        times = [measure(lambda path=path: client.get(path)) for _ in range(rounds)]
        clock, processor = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
        print(f"  {name:<18} {clock:6.1f} ms  {processor:6.1f} ms of the processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rollouts-") as home:
        os.environ |= {"PLANE_HOME": home, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        import django

        django.setup()
        run(arguments.devices, arguments.rounds)


def run(devices: int, rounds: int) -> None:
    from django.core.management import call_command
    from django.db import connection, transaction

    from apps.fleet.rollouts.services import planning

    call_command("migrate", verbosity=0)
    rollout = seed(devices)
    insert = planning.insert_members

    def store(way: Any) -> None:
        planning.insert_members = way
        with transaction.atomic():
            planning.store_plan(rollout)

    results: dict[str, list[tuple[float, float]]] = {"compute": [], "plan and rows": [], "bulk_create": []}
    for _ in range(rounds):
        results["compute"].append(measure(lambda: planning.compute_plan(rollout)))
        results["plan and rows"].append(measure(lambda: store(insert)))
        results["bulk_create"].append(measure(lambda: store(insert_by_orm)))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()
    }
    print(
        f"{connection.vendor}, {devices:,} devices, {rollout.preview['strata_total']} strata, {rounds} rounds, medians"
    )
    for name, (clock, processor) in medians.items():
        print(f"  {name:<14} {clock:6.2f} s   {processor:6.2f} s of the processor")
    ratio = medians["bulk_create"][1] / medians["plan and rows"][1]
    verdict = "holds" if medians["plan and rows"][0] < AIM_SECONDS else "does not hold"
    print(f"  bulk_create takes {ratio:.1f} times the processor; under {AIM_SECONDS:g} s: {verdict}")
    begin(rollout)
    time_pages(rollout, rounds=15)


if __name__ == "__main__":
    main()
