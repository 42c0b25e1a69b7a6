"""Plans as rows: the waves of a rollout and the place of every device, by a few statements however many there are."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection

from apps.fleet.rollouts.chunks import split_into_chunks
from apps.fleet.rollouts.models import Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.planner import FleetPlan, Place, plan_waves, summarize
from apps.fleet.rollouts.schemas import RolloutPlan, read_plan
from apps.fleet.rollouts.selection import Selection, list_group_members, select_candidates
from apps.fleet.rollouts.states import Stage

ROWS_PER_STATEMENT = 10_000
COLUMNS = "rollout_id, device_id, wave_id, rank, stratum, architecture, is_active, stage, previous_id, attempts, code"


def compute_plan(rollout: Rollout) -> tuple[FleetPlan, Selection]:
    """Which device would be in which wave now."""
    plan = read_plan(rollout.plan)
    with pause_collection():
        selection = select_candidates(rollout, plan)
        groups = list_group_members(rollout, plan)
        return plan_waves(selection.candidates, plan.waves, seed=rollout.pk, groups=groups), selection


@contextmanager
def pause_collection() -> Iterator[None]:
    """Run the block without the collector of cycles: it walks hundreds of thousands of new tuples that have none."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def store_plan(rollout: Rollout) -> None:
    """Write down which device is in which wave, in place of an earlier plan. Under the lock of the rollout."""
    plan = read_plan(rollout.plan)
    fleet, selection = compute_plan(rollout)
    RolloutDevice.objects.filter(rollout=rollout).delete()
    Wave.objects.filter(rollout=rollout).delete()
    waves = Wave.objects.bulk_create(
        Wave(
            rollout=rollout,
            position=position,
            size=size.model_dump(exclude_none=True),
            devices=wave.devices,
            controls=wave.controls,
            asks_approval=asks_approval(plan, position),
            counts={Stage.PLANNED: wave.devices},
        )
        for position, (size, wave) in enumerate(zip(plan.waves, fleet.waves, strict=True))
    )
    insert_members(rollout, waves, fleet.places)
    rollout.preview = summarize(fleet, plan.waves, selection.excluded)
    rollout.plan_digest = fleet.digest
    rollout.save(update_fields=["preview", "plan_digest"])


def asks_approval(plan: RolloutPlan, position: int) -> bool:
    """Whether approvers decide after this wave; after the last there is nothing to decide."""
    if position == len(plan.waves) - 1 or plan.approve_after == "none":
        return False
    return plan.approve_after == "every" or position == 0


def insert_members(rollout: Rollout, waves: Sequence[Wave], places: Sequence[Place]) -> None:
    """One row for each device. Django's bulk_create takes several times as long: benchmarks/rollouts.py."""
    for chunk in split_into_chunks(build_rows(rollout, waves, places), ROWS_PER_STATEMENT):
        if connection.vendor == "postgresql":
            insert_arrays(rollout, chunk)
        else:
            insert_rows(rollout, chunk)


Row = tuple[int, int | None, int, str, str, int | None]


def build_rows(rollout: Rollout, waves: Sequence[Wave], places: Sequence[Place]) -> Iterator[Row]:
    for candidate, rank, wave in places:
        key = None if wave is None else waves[wave].pk
        yield (candidate.device, key, rank, candidate.stratum, candidate.architecture, candidate.previous)


def insert_rows(rollout: Rollout, rows: Sequence[Row]) -> None:
    """A statement for each; what all have in common is part of it, or SQLite binds it a hundred thousand times."""
    sql = (
        f"INSERT INTO rollouts_rolloutdevice ({COLUMNS}) "  # noqa: S608 - names and numbers of ours
        f"VALUES ({rollout.pk:d}, %s, %s, %s, %s, %s, false, '{Stage.PLANNED.value}', %s, 0, '')"
    )
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def insert_arrays(rollout: Rollout, rows: Sequence[Row]) -> None:
    """One statement of six arrays: PostgreSQL reads neither a hundred thousand values nor their places."""
    sql = (
        f"INSERT INTO rollouts_rolloutdevice ({COLUMNS}) "  # noqa: S608 - names of ours
        "SELECT %s, device, wave, rank, stratum, architecture, false, %s, previous, 0, '' FROM "
        "unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::text[], %s::text[], %s::bigint[]) "
        "AS t(device, wave, rank, stratum, architecture, previous)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [rollout.pk, Stage.PLANNED.value, *map(list, zip(*rows, strict=True))])
