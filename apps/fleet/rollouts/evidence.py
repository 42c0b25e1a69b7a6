"""The evidence of a wave: each canary and control device with its state and its figures, by a few queries.

A device is the unit. Its figures are the metrics of its heartbeats, `healthy` (1 or 0), and of the observations in the
window of the wave `latency_ms`, `accuracy`, `absolute_error`: of a canary only those of the new version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from django.db.models import Q, Sum

from apps.fleet.devices.absences import Absences, read_absences
from apps.fleet.devices.states import Health
from apps.fleet.rollouts.models import Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.schemas import RolloutPlan
from apps.fleet.rollouts.services.moves import FELL_BACK
from apps.fleet.rollouts.states import Stage
from apps.ml.observations.models import HourFigures, Task
from deepseek.canary.spec import CanaryPlan, Gate

MAX_CONTROLS = 20_000  # of a look: those that are given the version last
WATCHED_DIFFERENCE = 0.1
COLUMNS = (
    "device_id",
    "device__name",
    "stratum",
    "stage",
    "code",
    "retry_at",
    "installed_at",
    "device__source_id",
    "device__telemetry__last_seen",
    "device__telemetry__health",
    "device__telemetry__metrics",
)
SUMS = ("predictions", "scored", "correct", "error_sum", "latency_count", "latency_us_sum")


def build_gate_plan(plan: RolloutPlan, wave: Wave) -> CanaryPlan | None:
    """The plan of a wave's gates with its sample; None where nothing can be compared: no gate has a limit, and no
    device is left to compare with."""
    controls = min(wave.controls, MAX_CONTROLS)
    gates = [gate for gate in plan.canary.gates if controls or gate.reference == "limit"]
    if not gates:
        return None
    document = plan.canary.model_dump(mode="json") | {"gates": [gate.model_dump(mode="json") for gate in gates]}
    return CanaryPlan.model_validate({**document, "maximum": {"canary": max(1, wave.devices), "control": controls}})


def build_watch_plan(plan: CanaryPlan) -> CanaryPlan | None:
    """The gates of a wave after its last look, by tests that hold at any time (e-processes): the planned error of the
    others is spent then. They look for harm alone. None where no gate can be tested so: a number without a margin."""
    gates = [
        gate.model_dump(mode="json") | {"tests": ["harm"], "margin": gate.margin or find_watch_margin(gate)}
        for gate in plan.gates
        if gate.reference == "limit" or gate.margin is not None or gate.scale == "binary"
    ]
    if not gates:
        return None
    return CanaryPlan.model_validate({**plan.model_dump(mode="json"), "gates": gates, "maximum": None})


def find_watch_margin(gate: Gate) -> float | None:
    """The difference of shares for which a test without a planned end is best, where the plan names none."""
    return None if gate.reference == "limit" else gate.tolerance + WATCHED_DIFFERENCE


def build_evidence(
    rollout: Rollout, wave: Wave, now: datetime, *, final: bool, history: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What deepseek.canary reads of a look, as JSON; `history` is that of the verdict before. Time in which the plane
    was away counts neither as observation nor as silence."""
    absences = read_absences()
    members = RolloutDevice.objects.filter(rollout=rollout)
    canaries = list(members.filter(wave=wave).exclude(stage=Stage.SKIPPED).order_by("rank").values_list(*COLUMNS))
    later = Q(wave__position__gt=wave.position) | Q(wave=None)
    controls = list(members.filter(later, stage=Stage.PLANNED).order_by("-rank").values_list(*COLUMNS)[:MAX_CONTROLS])
    since = wave.started_at or now
    figures = read_figures(rollout, since)
    devices = [describe_canary(row, now, absences, figures.get((row[7], True), {})) for row in canaries]
    devices += [
        describe_control(row, since, now, absences, figures.get((row[7], False), {}))
        for row in controls
        if row[8] is not None and row[8] >= since  # one that was away before is not like those that installed
    ]
    names = {device["device"] for device in devices}
    if len(names) < len(devices):  # a revoked device's name that another one took
        for number, device in enumerate(devices):
            device["device"] = f"{device['device']} ({number})"
    return {"at": now.isoformat(), "final": final, "history": history, "devices": devices}


def describe_canary(
    row: tuple[Any, ...], now: datetime, absences: Absences, figures: Mapping[str, Any]
) -> dict[str, Any]:
    _device, name, stratum, stage, code, retry_at, installed_at, _source, last_seen, health, metrics = row
    installed = stage == Stage.INSTALLED or code == FELL_BACK
    heard = max((at for at in (last_seen, installed_at) if at is not None), default=now)
    is_current = installed_at is not None and last_seen is not None and last_seen >= installed_at
    return {
        "device": name,
        "arm": "canary",
        "stratum": stratum,
        "installed": installed,
        "failed": stage == Stage.FAILED and retry_at is None,
        "observed_seconds": absences.measure_presence(installed_at, now) if installed_at else 0.0,
        "silent_seconds": absences.measure_presence(heard, now),
        "values": {**(describe_telemetry(health, metrics) if is_current else {}), **figures},
    }


def describe_control(
    row: tuple[Any, ...], since: datetime, now: datetime, absences: Absences, figures: Mapping[str, Any]
) -> dict[str, Any]:
    _device, name, stratum, _stage, _code, _retry_at, _installed_at, _source, last_seen, health, metrics = row
    return {
        "device": name,
        "arm": "control",
        "stratum": stratum,
        "installed": True,
        "failed": False,
        "observed_seconds": absences.measure_presence(since, now),
        "silent_seconds": absences.measure_presence(last_seen, now),
        "values": {**describe_telemetry(health, metrics), **figures},
    }


def describe_telemetry(health: str | None, metrics: Mapping[str, float] | None) -> dict[str, Any]:
    values = {name: {"mean": float(value), "count": 1} for name, value in (metrics or {}).items()}
    if health in (Health.HEALTHY, Health.FAILING):
        values["healthy"] = {"mean": float(health == Health.HEALTHY), "count": 1}
    return values


def read_figures(rollout: Rollout, since: datetime) -> dict[tuple[int, bool], dict[str, Any]]:
    """{(source, of the new version): figures} of the hours of the wave; of other versions all together."""
    hour = since.replace(minute=0, second=0, microsecond=0)
    rows = HourFigures.objects.filter(source__project=rollout.project_id, hour__gte=hour, is_shadow=False)
    grouped = rows.order_by().values("source_id", "source__task", "version_id").annotate(**{s: Sum(s) for s in SUMS})
    totals: dict[tuple[int, bool], dict[str, Any]] = {}
    for each in cast(Iterable[Mapping[str, Any]], grouped):
        total = totals.setdefault((each["source_id"], each["version_id"] == rollout.version_id), {"task": ""})
        total["task"] = each["source__task"]
        for name in SUMS:
            total[name] = total.get(name, 0) + each[name]
    return {key: compute_means(total) for key, total in totals.items()}


def compute_means(total: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    if total["latency_count"]:
        mean = total["latency_us_sum"] / total["latency_count"] / 1000
        values["latency_ms"] = {"mean": mean, "count": total["latency_count"]}
    if total["scored"] and total["task"] == Task.CLASSIFICATION:
        values["accuracy"] = {"mean": total["correct"] / total["scored"], "count": total["scored"]}
    if total["scored"] and total["task"] == Task.REGRESSION:
        values["absolute_error"] = {"mean": total["error_sum"] / total["scored"], "count": total["scored"]}
    return values
