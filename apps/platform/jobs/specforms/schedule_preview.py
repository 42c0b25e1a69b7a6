"""Preview charts of a training schedule from form values, computed by the engine's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.utils.translation import gettext as _
from pydantic import BaseModel, create_model

from apps.core.errors import Invalid
from apps.platform.jobs.spec_validation import parse_model
from deepseek.train.loop_spec import ScheduleSpec
from deepseek.train.plan import (
    Phase,
    count_rows_left,
    count_training_rows,
    list_batches,
    list_learning_rates,
    plan_phases,
)
from deepseek.train.schedule import DECAY_STEPS
from deepseek.train.spec import TrainSpec

MIN_TRAINING_ROWS = 10  # below, the engine refuses to train
DEFAULT_CHART_STEPS = 1000
LOOP_FIELDS = ("epochs", "patience", "schedule", "validation_share", "test_share")


class ScheduledSpec(Protocol):
    """What the schedule of a training follows from."""

    @property
    def epochs(self) -> int: ...
    @property
    def patience(self) -> int: ...
    @property
    def schedule(self) -> ScheduleSpec: ...


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


def build_schedule_preview(
    values: Mapping[str, Any], rows: int | None, name: str = "schedule", spec_type: type[BaseModel] = TrainSpec
) -> SchedulePreview:
    """What `values` of a spec of this type would do with `rows` rows, images or texts (None: not known yet).

    What is learned from them does not matter to it: a form that is not filled in yet has its preview.
    """
    try:
        spec, training_row_count = parse_loop(values, rows, spec_type)
    except Invalid as failure:
        return SchedulePreview(wrong=[str(error["field"]) for error in failure.errors])
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


def parse_loop(
    values: Mapping[str, Any], rows: int | None, spec_type: type[BaseModel]
) -> tuple[ScheduledSpec, int | None]:
    """The fields of a spec that decide its schedule, and the rows that are left to train on.

    Raises Invalid for what is wrong with these fields, and with no other.
    """
    if spec_type is TrainSpec:
        completed = {**values, "target": "y", "features": None, "task": values.get("task") or "regression"}
        table_spec = parse_model(TrainSpec, completed, strict=False, prefix="")
        return table_spec, count_training_rows(table_spec, rows) if rows is not None else None
    fields = {name: field for name, field in spec_type.model_fields.items() if name in LOOP_FIELDS}
    definitions: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    loop_type = create_model("Loop", **definitions)
    loop_values = {name: value for name, value in values.items() if name in fields}
    loop: Any = parse_model(loop_type, loop_values, strict=False, prefix="")
    if rows is None:
        return loop, None
    shares = [getattr(loop, name) for name in ("validation_share", "test_share") if name in fields]
    return loop, count_rows_left(rows, shares)


def is_scheduled(spec_type: type[BaseModel]) -> bool:
    """Whether jobs of this spec train by a schedule."""
    return {"epochs", "patience", "schedule"} <= set(spec_type.model_fields)


def build_rate_chart(spec: ScheduledSpec, steps: int, name: str) -> dict[str, Any]:
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


def build_notes(spec: ScheduledSpec, rows: int | None, training_row_count: int | None, steps: int) -> list[str]:
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
