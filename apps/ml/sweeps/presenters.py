"""Shapes for the page of a sweep: its charts, and the rows of its trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from apps.ml.experiments.comparison.parallel_coordinates import Axis
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.queries import find_best_trial, get_trial_run
from apps.ml.sweeps.schemas import load_request
from apps.ml.sweeps.states import OPEN_TRIALS, TrialState
from deepseek.sweep.spec import ChoiceParameter, Parameter, SweepSettings

MAX_LINES = 100  # of the parallel coordinates: more cannot be told apart
MAX_PARALLEL_AXES = 8


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as the table shows it."""

    trial: SweepTrial
    values: list[tuple[str, str]]  # (parameter, its value)
    run: Any
    is_best: bool


def build_overview(sweep: Sweep, trials: Sequence[SweepTrial], slug: str) -> dict[str, Any]:
    """Everything that the page draws of the trials."""
    settings = load_request(sweep).settings
    best = find_best_trial(trials, settings)
    names = [parameter.name for parameter in settings.space]
    counts = Counter(trial.state for trial in trials)
    ended = sum(number for state, number in counts.items() if state not in OPEN_TRIALS)
    return {
        "settings": settings,
        "space": [describe_parameter(parameter) for parameter in settings.space],
        "counts": [(state, counts[state]) for state in TrialState.values if counts[state]],
        "ended": ended,
        "best": best,
        "rows": [
            TrialRow(
                trial,
                [(name, format_value(value)) for name, value in zip(names, trial.values, strict=True)],
                get_trial_run(trial),
                trial == best,
            )
            for trial in trials
        ],
        "history": build_history_chart(trials, settings),
        "parallel": build_parallel_chart(trials, settings, slug),
        "importance": build_importance_chart(sweep),
    }


def format_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe_parameter(parameter: Parameter) -> dict[str, str]:
    if isinstance(parameter, ChoiceParameter):
        return {"name": parameter.name, "range": ", ".join(map(str, parameter.choices))}
    text = _("%(low)s to %(high)s") % {"low": f"{parameter.low:g}", "high": f"{parameter.high:g}"}
    return {"name": parameter.name, "range": f"{text}, {_('logarithmic')}" if parameter.log else text}


def build_history_chart(trials: Sequence[SweepTrial], settings: SweepSettings) -> dict[str, Any] | None:
    """The objective of each trial that has succeeded, by number, and the best one so far."""
    done = [trial for trial in trials if trial.state == TrialState.SUCCEEDED and trial.objective is not None]
    if not done:
        return None
    choose = min if settings.direction == "minimize" else max
    best, values = [], []
    so_far = None
    for trial in done:
        value = float(trial.objective or 0.0)
        so_far = value if so_far is None else choose(so_far, value)
        best.append((trial.number, so_far))
        values.append((trial.number, value))
    return {
        "id": "history",
        "series": [{"label": _("Best so far"), "points": best}, {"label": _("Each trial"), "points": values}],
        "x_unit": _("trial"),
        "y_unit": settings.metric,
    }


def build_parallel_chart(trials: Sequence[SweepTrial], settings: SweepSettings, slug: str) -> dict[str, Any] | None:
    """One axis for each parameter and one for the objective; a line for each trial that has a value."""
    measured = [trial for trial in trials if trial.objective is not None and math.isfinite(trial.objective)]
    measured = measured[-MAX_LINES:]
    if len(measured) < 2:
        return None
    axes = [
        build_axis(parameter, [trial.values[place] for trial in measured])
        for place, parameter in enumerate(settings.space[: MAX_PARALLEL_AXES - 1])
    ]
    axes.append(Axis(settings.metric, [trial.objective for trial in measured]))
    return {
        "id": "parallel",
        "axes": axes,
        "head": _("Trial"),
        "lines": [
            {
                "label": _("trial %(number)s") % {"number": trial.number},
                "url": reverse("jobs:detail", args=[slug, trial.job_id]) if trial.job_id else "",
                "inside": trial.state == TrialState.SUCCEEDED,
                "place": place,
            }
            for place, trial in enumerate(measured)
        ],
    }


def build_axis(parameter: Parameter, values: Sequence[Any]) -> Axis:
    """Numbers as such; of a choice words, also where they are numbers."""
    if isinstance(parameter, ChoiceParameter):
        return Axis(parameter.name, [str(value) for value in values], [str(choice) for choice in parameter.choices])
    return Axis(parameter.name, [float(value) for value in values], log=parameter.log)


def build_importance_chart(sweep: Sweep) -> dict[str, Any] | None:
    if not sweep.importance:
        return None
    rows = sorted(sweep.importance.items(), key=lambda item: -item[1])
    bars = [{"label": name, "value": share, "low": None, "high": None, "url": ""} for name, share in rows]
    return {"id": "importance", "bars": bars, "unit": _("share"), "head": _("Parameter")}
