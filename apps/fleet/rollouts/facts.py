"""What approvers of a rollout decide about: what is rolled out, to which devices, in which waves, and back to what.

Everything follows from rows that do not change while nothing moves. The figures come from the version's document, whose
digest is computed anew; which device is in which wave stands as a digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from apps.fleet.releases.models import Release
from apps.fleet.rollouts.models import Look, Rollout, Wave
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.promotion.facts import build_candidate, build_side, list_variants_with_artifacts
from apps.ml.registry.provenance import list_training_data

SCHEMA = "plane/rollout-facts/v1"
SUBJECT = "rollout"
START, WAVE = "start", "wave"
GATE_FIELDS = ("name", "measure", "better", "reference", "limit", "margin", "canary", "control", "harm", "low", "high")
MAX_STRATA = 20  # of the facts; the digest of the plan covers them all


def build_start_facts(rollout: Rollout, *, deep: bool = False) -> dict[str, Any]:
    """The facts of starting a rollout. `deep` reads the bytes of the version's variants."""
    version = rollout.version
    variants = list_variants_with_artifacts(version)
    before = list_previous_releases(rollout)
    current = find_previous_version(before)
    return {
        "schema": SCHEMA,
        "stage": START,
        "rollout": rollout.pk,
        "model": rollout.model_name,
        "candidate": build_candidate(version, variants, deep=deep),
        "current": build_side(current, list_variants_with_artifacts(current), {}) if current else None,
        "data": [
            {"dataset": data.dataset.name, "version": data.number, "digest": data.digest}
            for data in list_training_data(next(iter(variants), None), version.project_id)
        ],
        "run": {"id": version.run.pk, "metrics_digest": version.run.metrics_digest} if version.run else None,
        "variants": {
            row.architecture: {"name": row.variant.name, "digest": row.digest}
            for row in rollout.variants.select_related("variant")
        },
        "selection": {"group": rollout.group, "query": rollout.query},
        "blast_radius": build_blast_radius(rollout),
        "plan": {name: part for name, part in rollout.plan.items() if name != "waves"},
        "plan_digest": rollout.plan_digest,
        "rollback": before,
    }


def build_blast_radius(rollout: Rollout) -> dict[str, Any]:
    preview = rollout.preview
    parts = ("devices", "excluded", "uncovered", "architectures", "strata_total")
    return {
        **{name: preview.get(name) for name in parts},
        "waves": preview.get("waves", []),
        "strata": preview.get("strata", [])[:MAX_STRATA],
    }


def list_previous_releases(rollout: Rollout) -> list[dict[str, Any]]:
    """What the devices ran when the rollout was planned, which a rollback goes back to; most devices first. `release`
    is null of devices that ran nothing: they have nothing to go back to."""
    counts: Counter[int] = Counter({int(key or 0): count for key, count in rollout.preview.get("previous", {}).items()})
    rows = Release.objects.filter(pk__in=[key for key in counts if key]).select_related("variant__version")
    releases = {row.pk: row for row in rows}
    return [
        {"devices": count, **describe_release(releases.get(key))}
        for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def describe_release(release: Release | None) -> dict[str, Any]:
    if release is None:
        return {"release": None, "model": None, "version": None, "variant": None, "digest": None}
    return {
        "release": release.pk,
        "model": release.model_name,
        "version": release.variant.version.number,
        "variant": release.variant.name,
        "digest": release.variant.artifact_id,
    }


def find_previous_version(previous: list[dict[str, Any]]) -> ModelVersion | None:
    """The version that most devices ran."""
    first = next((row["release"] for row in previous if row["release"]), None)
    release = Release.objects.select_related("variant__version__run").filter(pk=first).first() if first else None
    return release.variant.version if release else None


def build_wave_facts(rollout: Rollout, wave: Wave, look: Look, *, deep: bool = False) -> dict[str, Any]:
    """The facts of letting the next wave begin: those of the start, and the evidence of the wave before it."""
    upcoming = rollout.waves.filter(position=wave.position + 1).first()
    return {
        **build_start_facts(rollout, deep=deep),
        "stage": WAVE,
        "state": str(rollout.state),  # a gate may roll back meanwhile
        "wave": {"position": wave.position, "devices": wave.devices, "controls": wave.controls},
        "next_wave": {"position": upcoming.position, "devices": upcoming.devices} if upcoming else None,
        "evidence": describe_look(look),
    }


def describe_look(look: Look) -> Mapping[str, Any]:
    """What a look found, small enough for facts: the verdict, its reasons, and each gate's figures and interval."""
    document = look.document
    return {
        "look": look.number,
        "at": look.at.isoformat(),
        "verdict": look.verdict,
        "final": look.is_final,
        "reasons": [{"code": reason["code"], "message": reason["message"]} for reason in document["reasons"]],
        "devices": {arm: document["devices"][arm] for arm in ("canary", "control")},
        "gates": [{name: gate.get(name) for name in GATE_FIELDS} for gate in document["gates"]],
        "can_show": document.get("can_show"),
        "evidence_digest": look.evidence_digest,
    }
