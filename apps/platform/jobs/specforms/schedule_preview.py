"""Preview charts of a training schedule from form values, computed by the engine's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from apps.core.errors import Invalid
from apps.platform.jobs.spec_validation import parse_model
from deepseek.train.plan import Phase, count_training_rows, list_batches, list_learning_rates, plan_phases
from deepseek.train.schedule import DECAY_STEPS
from deepseek.train.spec import TrainSpec

MIN_TRAINING_ROWS = 10  # below, the engine refuses to train
DEFAULT_CHART_STEPS = 1000


@dataclass(frozen=True, slots=True)
class SchedulePreview:
    """`steps` and `phases` are empty where no table says how many rows there are; `wrong`: pointers that stop it."""

    rows: int | None = None  # to train on
    epochs: int = 0
    steps: int = 0
    phases: list[Phase] = field(default_factory=list)
    rates: dict[str, Any] | None = None
    sizes: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def build_schedule_preview(values: Mapping[str, Any], rows: int | None, name: str = "schedule") -> SchedulePreview:
    """What `values` of a TrainSpec would do with a table of `rows` rows (None: not known yet).

    Target and features do not matter to it: a form that is not filled in yet has its preview.
    """
    completed = {**values, "target": "y", "features": None, "task": values.get("task") or "regression"}
    try:
        spec = parse_model(TrainSpec, completed, strict=False, prefix="")
    except Invalid as failure:
        return SchedulePreview(wrong=[str(error["field"]) for error in failure.errors])
    training_row_count = count_training_rows(spec, rows) if rows is not None else None
    phases = plan_phases(spec.schedule, spec.epochs, training_row_count) if training_row_count else []
    steps = sum(phase.steps for phase in phases)
    chart_steps = steps or max(DEFAULT_CHART_STEPS, 2 * spec.schedule.warmup_steps)
    return SchedulePreview(
        rows=training_row_count,
        epochs=spec.epochs,
        steps=steps,
        phases=phases,
        rates=build_rate_chart(spec, chart_steps, name) if training_row_count != 0 else None,
        sizes=build_size_chart(phases, name) if len(phases) > 1 else None,
        notes=build_notes(spec, rows, training_row_count, steps),
    )


def build_rate_chart(spec: TrainSpec, steps: int, name: str) -> dict[str, Any]:
    """Logarithmic where the rate decays: a tenth of it would lie on the axis."""
    points = list_learning_rates(spec.schedule, steps)
    return {
        "series": [{"label": _("learning rate"), "points": points}],
        "x_unit": _("step"),
        "y_unit": _("learning rate"),
        "log": min(rate for _step, rate in points) < max(rate for _step, rate in points) / 20,
        "id": f"{name}-rate",
        "small": True,
    }


def build_size_chart(phases: list[Phase], name: str) -> dict[str, Any]:
    points = [(step, float(size)) for step, size in list_batches(phases)]
    return {
        "series": [{"label": _("batch size"), "points": points}],
        "x_unit": _("step"),
        "y_unit": _("batch size, rows"),
        "id": f"{name}-batch",
        "small": True,
    }


def build_notes(spec: TrainSpec, rows: int | None, training_row_count: int | None, steps: int) -> list[str]:
    """Build the notes about the schedule that matter before the training runs."""
    if training_row_count is None:
        return [_("Choose a table: its rows decide how many steps there are.")]
    notes = []
    if training_row_count < MIN_TRAINING_ROWS:
        text = _("The table has %(rows)s rows, which leave %(known)s to train on: too few.")
        notes.append(text % {"rows": f"{rows:,}", "known": f"{training_row_count:,}"})
    if 0 < steps <= spec.schedule.warmup_steps:
        text = _("The warm-up of %(warmup)s steps is longer than the training: the highest rate is never reached.")
        notes.append(text % {"warmup": f"{spec.schedule.warmup_steps:,}"})
    if steps > DECAY_STEPS:
        text = _("Every %(steps)s steps the learning rate falls to a tenth.")
        notes.append(text % {"steps": f"{DECAY_STEPS:,}"})
    if spec.patience and steps:
        text = _("It may end earlier: after %(patience)s epochs without a lower validation loss.")
        notes.append(text % {"patience": f"{spec.patience:,}"})
    return notes
