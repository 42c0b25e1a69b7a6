"""Shapes for the pages of rollouts. None counts devices: the counts stand in the waves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.fleet.rollouts import queries
from apps.fleet.rollouts.gate_charts import describe_gates, describe_sample
from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.planner import EMPTY_PREVIEW
from apps.fleet.rollouts.schemas import RolloutPlan
from apps.fleet.rollouts.selection import ALREADY_RUNNING, IN_ROLLOUT, INACTIVE, NO_VARIANT
from apps.fleet.rollouts.services.moves import ABORTABLE, REVERSIBLE
from apps.fleet.rollouts.states import OPEN, RolloutState, Stage, WaveState

Row = dict[str, Any]
MAX_LISTED_LOOKS = 50
TROUBLE = (Stage.FAILED, Stage.STRANDED)
EXCLUSIONS = {
    INACTIVE: gettext_lazy("in quarantine"),
    NO_VARIANT: gettext_lazy("of an architecture without a variant"),
    IN_ROLLOUT: gettext_lazy("in another rollout"),
    ALREADY_RUNNING: gettext_lazy("run this variant already"),
}


def summarize_rollouts(rollouts: Sequence[Rollout]) -> list[Row]:
    """The rows of a page, from what the query has brought."""
    return [summarize_rollout(rollout) for rollout in rollouts]


def summarize_rollout(rollout: Rollout) -> Row:
    waves = list(rollout.waves.all())
    counts = queries.count_devices(rollout)
    return {
        "rollout": rollout,
        "name": f"#{rollout.pk} {rollout.model_name} v{rollout.version.number}",
        "installed": counts[Stage.INSTALLED],
        "failed": counts[Stage.FAILED] + counts[Stage.STRANDED],
        "devices": sum(wave.devices for wave in waves),
        "wave": _("%(number)s of %(count)s") % {"number": rollout.position + 1, "count": len(waves)}
        if rollout.position is not None and waves
        else "",
    }


# -- one rollout ----------------------------------------------------------------------------------------------------
def describe_rollout(rollout: Rollout, plan: RolloutPlan) -> Row:
    """How far it is, whether it is healthy, and what decides next and when."""
    waves = [describe_wave(rollout, wave) for wave in rollout.waves.all()]
    counts = queries.count_devices(rollout)
    return {
        "waves": waves,
        "devices": sum(row["wave"].devices for row in waves),
        "installed": counts[Stage.INSTALLED],
        "failed": counts[Stage.FAILED],
        "returned": counts[Stage.RETURNED],
        "stranded": counts[Stage.STRANDED],
        "is_back": rollout.state in (RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK),
        "next": queries.describe_next_step(rollout),
        "plan": describe_plan(plan),
        "has_ended": rollout.state in (RolloutState.COMPLETED, RolloutState.ROLLED_BACK, RolloutState.ABORTED),
    }


def describe_wave(rollout: Rollout, wave: Wave) -> Row:
    counts: Counter[str] = Counter(wave.counts)
    return {
        "wave": wave,
        "number": wave.position + 1,
        "size": describe_size(wave.size),
        "is_current": rollout.position == wave.position,
        "css": "planned" if wave.state == WaveState.PENDING else wave.state,
        "installed": counts[Stage.INSTALLED],
        "assigned": counts[Stage.ASSIGNED],
        "failed": sum(counts[stage] for stage in TROUBLE),
        "back": counts[Stage.RETURNED],
        "skipped": counts[Stage.SKIPPED],
    }


def describe_size(size: Mapping[str, Any]) -> str:
    """How much of the devices a wave takes, in words."""
    if "share" in size:
        return format_percent(size["share"]) if size["share"] < 1 else _("all")
    if "count" in size:
        return _("%(count)s devices") % {"count": f"{size['count']:,}"}
    return _("group %(name)s") % {"name": size.get("group", "")}


def format_percent(share: float) -> str:
    return f"{share * 100:.4g} %"


def describe_plan(plan: RolloutPlan) -> Row:
    """Gates, schedule and retries in plain words."""
    schedule = plan.schedule
    return {
        "soak_seconds": plan.canary.soak_seconds,
        "deadline_seconds": plan.deadline_seconds,
        "wave_deadline_seconds": plan.wave_deadline_seconds,
        "look_seconds": plan.look_seconds,
        "approve_after": plan.approve_after,
        "gates": [describe_planned_gate(gate.model_dump()) for gate in plan.canary.gates],
        "stratify_by": plan.stratify_by,
        "attempts": plan.retry.attempts,
        "automatic": schedule.automatic,
        "start_at": schedule.start_at,
        "windows": [f"{', '.join(window.days)} {window.start}, {window.minutes} min" for window in schedule.windows],
        "time_zone": schedule.time_zone,
        "covers_new": plan.covers_new,
    }


def describe_planned_gate(gate: Mapping[str, Any]) -> str:
    """What a gate asks, in a sentence."""
    match gate["measure"]:
        case "install_failure":
            limit = {"limit": format_percent(gate["limit"])}
            return _("Roll back where more than %(limit)s of the installations fail.") % limit
        case "silence":
            return _("Roll back where more canary devices fall silent than control devices.")
        case "failure":
            return _("Roll back where more canary devices fail or fall silent than control devices.")
    words = {"name": gate["name"], "margin": f"{gate['margin'] or 0:g}"}
    if "non_inferiority" in gate["tests"]:
        return (
            _("%(name)s: roll back where it is worse; go on once it is shown to be worse by less than %(margin)s.")
            % words
        )
    return _("%(name)s: roll back where it is worse than that of control devices.") % words


def describe_evidence(actor: Actor, rollout: Rollout, wave: Wave | None, power: float) -> Row:
    """The last look at a wave as pictures, and the looks before it; two queries."""
    if wave is None:
        return {"look": None, "looks": [], "gates": [], "sample": None}
    looks = list(
        queries.list_looks(actor, rollout, wave=wave.position).order_by("-number").defer("document")[:MAX_LISTED_LOOKS]
    )
    last = queries.get_last_look(actor, rollout, wave) if looks else None
    document = last.document if last else {}
    return {
        "evidence_wave": wave,
        "evidence_number": wave.position + 1,
        "look": last,
        "looks": looks,
        "reasons": [reason["message"] for reason in document.get("reasons", ())],
        "arms": document.get("devices", {}),
        "gates": describe_gates(document),
        "sample": describe_sample(wave.devices, power, document.get("can_show")),
    }


def choose_evidence_wave(rollout: Rollout, position: int | None) -> Wave | None:
    """The wave that is asked for, else the one that runs, or the last that was looked at."""
    waves = list(rollout.waves.all())
    chosen = position if position is not None else rollout.position
    if chosen is None:
        chosen = max((wave.position for wave in waves if wave.looks), default=0)
    return next((wave for wave in waves if wave.position == chosen), None)


def list_rights(actor: Actor, rollout: Rollout) -> dict[str, bool]:
    """What this reader may do with it in its state."""
    state = rollout.state

    def may(action: str, *states: str) -> bool:
        return state in states and is_allowed(actor, f"rollout.{action}", rollout)

    return {
        "may_request": may("request_start", RolloutState.DRAFT),
        "may_start": may("start", RolloutState.APPROVED),
        "may_pause": may("pause", RolloutState.RUNNING),
        "may_resume": may("resume", RolloutState.PAUSED),
        "may_ask": may("request_decision", RolloutState.HELD),
        "may_retry": may("retry", *OPEN),
        "may_abort": may("abort", *ABORTABLE),
        "may_roll_back": may("roll_back", *REVERSIBLE),
    }


# -- plan preview ---------------------------------------------------------------------------------------------------
def describe_preview(preview: Mapping[str, Any], power: float) -> Row:
    """The blast radius with its words: devices by wave, stratum and architecture, and who is left out."""
    merged = {**EMPTY_PREVIEW, **preview}
    waves = [{**wave, "number": wave["position"] + 1, "words": describe_size(wave["size"])} for wave in merged["waves"]]
    first = next((wave for wave in waves if wave["devices"]), None)
    return {
        **merged,
        "waves": waves,
        "excluded": [(str(EXCLUSIONS.get(name, name)), count) for name, count in merged["excluded"].items()],
        "sample": describe_sample(first["devices"], power) if first else None,
        "without": merged["previous"].get("", 0),
    }


# -- devices --------------------------------------------------------------------------------------------------------
def summarize_members(members: Iterable[RolloutDevice]) -> list[Row]:
    return [
        {
            "member": member,
            "device": member.device,
            "wave": member.wave.position + 1 if member.wave else None,
            "before": f"{member.previous.model_name} v{member.previous.variant.version.number}"
            if member.previous
            else "",
        }
        for member in members
    ]


def describe_look(look: Look) -> Row:
    """A look with its gates drawn, for the page of an approval."""
    return {"look": look, "gates": describe_gates(look.document, prefix="canary")}
