"""Plans and devices of the canary's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.canary.verdict import evaluate_canary

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = 86_400.0
LATENCY = {"name": "latency_ms", "tests": ["harm", "non_inferiority"], "margin": 5.0}
INSTALL = {"name": "install", "measure": "install_failure", "scale": "binary", "reference": "limit", "limit": 0.05}
FAILURE = {"name": "failure", "measure": "failure", "scale": "binary", "tests": ["harm"]}


def build_plan(*gates: dict[str, Any], **settings: Any) -> CanaryPlan:
    maximum = {"maximum": {"canary": 40, "control": 360}}
    return CanaryPlan.model_validate({"gates": list(gates) or [LATENCY], **maximum, **settings})


def build_devices(
    canary: Iterable[float | None] = (),
    control: Iterable[float | None] = (),
    *,
    strata: Callable[[int], str] = lambda number: "ab"[number % 2],
    figure: str = "latency_ms",
    **fields: Any,
) -> list[dict[str, Any]]:
    """A device for each value, its soak time over; None: it sends no figure. `fields` are those of every canary."""
    devices = []
    for arm, values in (("canary", canary), ("control", control)):
        for number, value in enumerate(values):
            device = {"device": f"{arm}-{number:04}", "arm": arm, "stratum": strata(number), "observed_seconds": DAY}
            if value is not None:
                device["values"] = {figure: {"mean": float(value), "count": 10}}
            devices.append(device | (fields if arm == "canary" else {}))
    return devices


def build_evidence(devices: list[dict[str, Any]], look: int = 0, **fields: Any) -> Evidence:
    at = (START + timedelta(hours=look)).isoformat()
    return Evidence.model_validate({"at": at, "devices": devices, **fields})


def evaluate(plan: CanaryPlan, devices: list[dict[str, Any]], look: int = 0, **fields: Any) -> dict[str, Any]:
    return evaluate_canary(plan, build_evidence(devices, look, **fields))


def list_codes(verdict: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(reason["code"], reason.get("gate")) for reason in verdict["reasons"]]
