"""Looks at a wave with the engine's own verdict, of devices that only the evidence knows."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone

from apps.fleet.rollouts.models import Look
from apps.fleet.rollouts.schemas import read_plan
from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.canary.verdict import evaluate_canary

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


def evaluate(rollout, wave, worse=0.0):
    """The document of a look at `wave`, whose canaries are slower by `worse`, with the engine's own verdict."""
    plan = read_plan(rollout.plan).canary.model_dump(mode="json") | {"maximum": {"canary": 12, "control": 18}}
    devices = [
        {
            "device": f"{arm}-{number}",
            "arm": arm,
            "stratum": "x86_64",
            "installed": True,
            "failed": False,
            "observed_seconds": 90_000,
            "silent_seconds": 1,
            "values": {"latency_ms": {"mean": 40 + number % 5 + worse * (arm == "canary"), "count": 9}},
        }
        for arm, count in (("canary", 12), ("control", 18))
        for number in range(count)
    ]
    evidence = {"at": AT.isoformat(), "final": False, "history": None, "devices": devices}
    document = evaluate_canary(CanaryPlan.model_validate(plan), Evidence.model_validate(evidence))
    document.pop("history")
    return document


def add_look(rollout, worse=0.0):
    wave = rollout.waves.get(position=0)
    document = evaluate(rollout, wave, worse)
    return Look.objects.create(
        wave=wave, number=1, at=timezone.now(), verdict=document["verdict"], is_final=False, document=document
    )
