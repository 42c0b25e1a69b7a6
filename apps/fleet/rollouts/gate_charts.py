"""The evidence of a wave's gates as pages draw it: the looks against their boundaries, and the difference that they
bound. From the document of a look alone (docs/canary.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

Chart = dict[str, Any]
Document = Mapping[str, Any]
MEASURES = {
    "install_failure": gettext_lazy("Failed installations"),
    "silence": gettext_lazy("Silence after the installation"),
    "failure": gettext_lazy("Failed or silent"),
}
HARM, NON_INFERIORITY = "harm", "non_inferiority"
STATISTICS = {
    HARM: (gettext_lazy("Harm"), gettext_lazy("Boundary of harm")),
    NON_INFERIORITY: (gettext_lazy("No worse"), gettext_lazy("Boundary of no worse")),
}


def describe_gates(document: Document, prefix: str = "gate") -> list[dict[str, Any]]:
    """Each gate with its words, its figures and its two charts; `prefix` names them in the page."""
    return [describe_gate(gate, f"{prefix}-{place}") for place, gate in enumerate(document.get("gates", ()), start=1)]


def describe_gate(gate: Document, name: str) -> dict[str, Any]:
    tests = {test["test"]: test for test in gate.get("tests", ())}
    return {
        **gate,
        "title": get_gate_title(gate),
        "is_share": gate.get("scale") == "binary",
        "harm_test": tests.get(HARM),
        "margin_test": tests.get(NON_INFERIORITY),
        "is_harmful": bool(tests.get(HARM, {}).get("shown")),
        "is_shown": bool(tests.get(NON_INFERIORITY, {}).get("shown")),
        "looks_chart": build_looks_chart(gate.get("tests", ()), f"{name}-looks"),
        "arms_chart": build_arms_chart(gate, f"{name}-arms"),
        "difference_chart": build_difference_chart(gate, f"{name}-difference"),
        "detectable": next((test["detectable_at_maximum"] for test in tests.values() if "detectable" in test), None),
    }


def get_gate_title(gate: Document) -> str:
    return str(MEASURES.get(gate.get("measure", ""), gate["name"]))


def build_looks_chart(tests: Sequence[Document], name: str) -> Chart | None:
    """The statistic of each test at every look, beside the boundary that it would have to cross; None before the first
    look. A test without a planned end is drawn by the logarithm of its evidence."""
    series = []
    for test in tests:
        key = "log_e" if any(look["boundary"] is None and look["log_e"] is not None for look in test["looks"]) else "z"
        limit = "log_e_boundary" if key == "log_e" else "boundary"
        statistic, boundary = STATISTICS[test["test"]]
        series.append({"label": str(statistic), "points": list_points(test["looks"], key)})
        series.append({"label": str(boundary), "points": list_points(test["looks"], limit)})
    if not any(line["points"] for line in series):
        return None
    return {
        "id": name,
        "series": series,
        "x_unit": _("look"),
        "y_unit": _("evidence"),
        "small": True,
        "holding": (0.0,),
        "note": _("Above its boundary a test has shown what it looks for. A boundary falls as the sample grows."),
    }


def list_points(looks: Sequence[Document], key: str) -> list[tuple[float, float | None]]:
    return [(look["look"], value if is_finite(value := look.get(key)) else None) for look in looks]


def is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def build_difference_chart(gate: Document, name: str) -> Chart | None:
    """How much worse the canaries are, with the interval that holds at every look, beside what is tolerated; of a gate
    with a limit its share beside the limit. None where nothing was measured."""
    if not is_finite(gate.get("harm")):
        return None
    is_limit = gate.get("reference") == "limit"
    label = _("Canary devices") if is_limit else _("Worse by")
    bars = [{"label": label, "value": gate["harm"], "low": gate.get("low"), "high": gate.get("high"), "best": True}]
    threshold = gate.get("limit") if is_limit else gate.get("margin") or gate.get("tolerance")
    if threshold:
        bars.append({"label": _("Limit") if is_limit else _("Margin"), "value": threshold})
    unit = _("share of devices") if gate.get("scale") == "binary" else str(gate["name"])
    return {"id": name, "bars": bars, "unit": unit, "head": _("Compared")}


def build_arms_chart(gate: Document, name: str) -> Chart | None:
    """Both arms, each with its interval at this look; None beside a limit, which the difference is drawn beside, and
    where an arm has no device."""
    if gate.get("reference") == "limit":
        return None
    arms = [(_("Canary devices"), gate["canary"], True), (_("Control devices"), gate["control"], False)]
    if not all(is_finite(arm.get("value")) for _label, arm, _is_canary in arms):
        return None
    bars = [
        {"label": label, "value": arm["value"], "low": arm.get("low"), "high": arm.get("high"), "best": is_canary}
        for label, arm, is_canary in arms
    ]
    unit = _("share of devices") if gate.get("scale") == "binary" else str(gate["name"])
    return {"id": name, "bars": bars, "unit": unit, "head": _("Compared")}


def compute_visible_rate(devices: int, power: float) -> float | None:
    """The rate of failures that `devices` show at least once with a probability of `power`."""
    return 1 - (1 - power) ** (1 / devices) if devices else None


def describe_sample(devices: int, power: float, can_show: Document | None = None) -> dict[str, Any]:
    """What so many canaries say of rare failures: what the planned sample shows, and what the evidence excludes."""
    evidence = can_show or {}
    return {
        "devices": devices,
        "power": power,
        "visible_rate": compute_visible_rate(devices, power),
        "observed": evidence.get("devices"),
        "failures": evidence.get("failures"),
        "confidence": evidence.get("confidence"),
        "failure_rate_high": evidence.get("failure_rate_high"),
    }
