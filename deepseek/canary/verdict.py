"""The verdict on a wave of canaries, and its reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepseek.canary.document import describe_devices, describe_gate
from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.looks import SequentialTest, build_tests
from deepseek.canary.power import describe_power, describe_power_of_failures
from deepseek.canary.sample import Fleet
from deepseek.canary.spec import CanaryPlan, Gate
from deepseek.messages import N_, Message, record_messages

SCHEMA = "plane/canary-verdict/v1"


def evaluate_canary(plan: CanaryPlan, evidence: Evidence) -> dict[str, Any]:
    """The verdict `go_on`, `roll_back` or `hold`, its reasons, and the figures of every gate.

    The same plan and evidence give the same document, in whatever order the devices come. Its `history` belongs to the
    evidence of the next look. Raises EngineError ``plan_changed``, ``look_out_of_order``, ``not_binary``.
    """
    fleet = Fleet(plan, evidence.devices)
    tests = build_tests(plan, evidence, fleet)
    harmed = [describe_harm(test) for test in tests if test.kind == "harm" and test.is_shown]
    shortages = list_shortages(plan, evidence, fleet, tests)
    if harmed:
        verdict, reasons = "roll_back", harmed
    elif shortages:
        is_short = any(reason["code"] in ("no_canary", "no_control", "min_sample") for reason in shortages)
        verdict = "roll_back" if is_short and evidence.final and plan.shortage == "roll_back" else "hold"
        reasons = shortages
    else:
        verdict, reasons = "go_on", [build_reason("shown", N_("Every gate is passed."))]
    document = {
        "schema": SCHEMA,
        "verdict": verdict,
        "at": evidence.at.isoformat(),
        "final": evidence.final,
        "reasons": reasons,
        "mode": "group_sequential" if plan.maximum else "e_process",
        "plan_digest": plan.compute_digest(),
        "devices": describe_devices(fleet),
        "can_show": describe_power_of_failures(plan, fleet),
        "gates": [describe_gate(plan, gate, [test for test in tests if test.gate is gate]) for gate in plan.gates],
        "history": {
            "plan_digest": plan.compute_digest(),
            "looks": [look.model_dump(mode="json", exclude_none=True) for test in tests for look in test.looks],
        },
    }
    return record_messages(document)


def build_reason(code: str, msgid: str, /, **params: Any) -> dict[str, Any]:
    return {"code": code, "message": Message(msgid, **params), **params}


def describe_harm(test: SequentialTest) -> dict[str, Any]:
    place = test.find_crossing(test.alpha) or 0
    return build_reason("harm", N_("{gate}: canary devices are worse."), gate=test.gate.name, look=place + 1)


def list_shortages(
    plan: CanaryPlan, evidence: Evidence, fleet: Fleet, tests: Sequence[SequentialTest]
) -> list[dict[str, Any]]:
    """What is missing before the wave may go on."""
    reasons = []
    if not (fleet.is_canary & fleet.is_reached).any():
        reasons.append(build_reason("no_canary", N_("No canary device has the new version.")))
    if any(gate.reference == "control" for gate in plan.gates) and not (~fleet.is_canary & fleet.is_reached).any():
        reasons.append(build_reason("no_control", N_("No control device reports.")))
    if reasons:
        return reasons
    reached = int((fleet.is_canary & fleet.is_reached).sum())
    resolved = int((fleet.is_canary & fleet.is_resolved).sum())
    needed = math.ceil(plan.soak_share * reached - 1e-9)
    if resolved < needed:
        reasons.append(
            build_reason("soaking", N_("{have} of {need} canary devices have soaked."), have=resolved, need=needed)
        )
    reasons += list_uncovered_strata(plan, fleet)
    reasons += [reason for gate in plan.gates for reason in list_gate_shortages(plan, gate, tests)]
    return reasons


def list_uncovered_strata(plan: CanaryPlan, fleet: Fleet) -> list[dict[str, Any]]:
    if all(gate.reference == "limit" for gate in plan.gates):
        return []
    uncovered = fleet.find_uncovered_strata()
    count, total = sum(uncovered.values()), int((fleet.is_canary & fleet.is_reached).sum())
    if count <= plan.max_uncovered_share * total:
        return []
    return [
        build_reason(
            "stratum_without_control",
            N_("{count} of {total} canary devices stand in strata without a control device: {strata}."),
            count=count,
            total=total,
            strata=", ".join(name or '""' for name in list(uncovered)[:5]),
        )
    ]


def list_gate_shortages(plan: CanaryPlan, gate: Gate, tests: Sequence[SequentialTest]) -> list[dict[str, Any]]:
    own = [test for test in tests if test.gate is gate]
    decisive = next((test for test in own if test.kind == "non_inferiority"), own[0])
    if decisive.is_shown and decisive.kind == "non_inferiority":
        return []
    if not decisive.has_minimum():
        sides = [("canary", decisive.sample.canary, plan.min_canary)]
        if gate.reference == "control":
            sides.append(("control", decisive.sample.control, plan.min_control))
        return [
            build_reason(
                "min_sample",
                N_("{gate}: {have} of at least {need} devices ({arm})."),
                gate=gate.name,
                arm=arm,
                have=have,
                need=need,
            )
            for arm, have, need in sides
            if have < need
        ]
    if decisive.kind == "harm":
        return list_unfinished(plan, decisive)
    if math.isnan(decisive.z):
        return [
            build_reason(
                "no_variance",
                N_("{gate}: every device has the same value, which shows no margin. Compare a share instead."),
                gate=gate.name,
            )
        ]
    code = "undecided" if decisive.is_complete else "not_shown"
    words = {
        "undecided": N_("{gate}: the planned sample is used up, and the margin {margin} is not excluded."),
        "not_shown": N_("{gate}: the margin {margin} is not excluded yet."),
    }
    return [
        {
            **build_reason(code, words[code], gate=gate.name, margin=decisive.threshold),
            **describe_power(plan, decisive),
        }
    ]


def list_unfinished(plan: CanaryPlan, test: SequentialTest) -> list[dict[str, Any]]:
    """Of a gate that only looks for harm: that it found none is worth something once the planned sample was there."""
    if plan.maximum is None or test.is_complete:
        return []
    have = test.looks[-1].fraction if test.looks else 0.0
    message = N_("{gate}: no harm is seen, with {have} of the planned information. Wait for all of it.")
    return [build_reason("unfinished", message, gate=test.gate.name, have=round(have, 4), need=1)]
