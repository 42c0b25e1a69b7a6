"""What the fields of a monitor may hold. Raises Invalid with the field, the value and the limit."""

from __future__ import annotations

import math

from apps.core.errors import Invalid
from apps.core.request_values import validate_choice
from apps.fleet.monitoring.measures import is_lower_better
from apps.fleet.monitoring.models import Monitor
from apps.fleet.monitoring.states import Certainty, Correction, Measure, Rule
from apps.ml.observations.models import Task
from apps.platform.accounts.validation import check_fields
from deepseek.messages import N_

MAX_HOURS = 2_160  # 90 days
MAX_ERROR = 1e100
MAX_ALPHA = 0.2
RANGES = {
    "window_hours": (1, MAX_HOURS),
    "lag_hours": (0, MAX_HOURS),
    "min_count": (1, 1_000_000_000),
    "silence_hours": (1, MAX_HOURS),
    "cooldown_hours": (0, MAX_HOURS),
}
CHOICES = {
    "metric": Measure.values,
    "rule": Rule.values,
    "certainty": Certainty.values,
    "drift_correction": Correction.values,
}
TASKS = {Measure.ACCURACY: Task.CLASSIFICATION, Measure.F1: Task.CLASSIFICATION, Measure.ERROR: Task.REGRESSION}


def check_monitor(monitor: Monitor) -> None:
    check_fields(monitor, "name")
    for field, choices in CHOICES.items():
        validate_choice(field, getattr(monitor, field), choices, required=True)
    for field, (low, high) in RANGES.items():
        value = getattr(monitor, field)
        if value is not None and not low <= value <= high:
            raise build_range_error(field, value, f"{low} to {high}")
    if not (math.isfinite(monitor.drift_alpha) and 0 < monitor.drift_alpha <= MAX_ALPHA):
        raise build_range_error("drift_alpha", monitor.drift_alpha, f"above 0, at most {MAX_ALPHA:g}")
    check_limit(monitor)
    check_scope(monitor)


def check_limit(monitor: Monitor) -> None:
    """A limit that leaves something between the reference and the line, and a reference that the metric can have."""
    is_error = is_lower_better(monitor.metric)
    highest = MAX_ERROR if is_error and monitor.rule == Rule.ABSOLUTE else 1.0
    is_possible = math.isfinite(monitor.limit) and 0 < monitor.limit <= highest
    if not is_possible or (not is_error and monitor.limit == 1):  # nothing is beyond a line at 0
        raise build_range_error("limit", monitor.limit, f"above 0, at most {highest:g}")
    highest = MAX_ERROR if is_error else 1.0
    reference = monitor.reference
    if reference is not None and not (math.isfinite(reference) and 0 < reference <= highest):
        raise build_range_error("reference", reference, f"above 0, at most {highest:g}")


def check_scope(monitor: Monitor) -> None:
    if monitor.source is None:
        return
    if monitor.group:
        raise Invalid(
            "A monitor watches one source or a group of devices, not both.",
            field="group",
            limit="source or group",
            hint=N_("Leave one of them out, or create two monitors."),
        )
    task = TASKS[Measure(monitor.metric)]
    if monitor.source.task != task:
        raise Invalid(
            "{source} answers a {found}, of which there is no {metric}.",
            source=monitor.source.name,
            found=monitor.source.task,
            metric=monitor.metric,
            field="metric",
            limit="accuracy or f1 of a classification, error of a regression",
        )


def build_range_error(field: str, value: object, limit: str) -> Invalid:
    return Invalid("{name} is {found}.", name=field, found=str(value)[:40], field=field, limit=limit)
