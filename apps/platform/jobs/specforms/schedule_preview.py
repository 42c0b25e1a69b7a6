"""The schedule of a training as charts, from values as a form holds them: the engine's own arithmetic, drawn early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from apps.core.errors import Invalid
from apps.platform.jobs.spec_validation import parse_model
from deepseek.train.plan import Phase, batches, learning_rates, phases_of, training_rows
from deepseek.train.schedule import DECAY_STEPS
from deepseek.train.spec import TrainSpec

ROWS_AT_LEAST = 10  # below, the engine refuses to train
STEPS_WITHOUT_ROWS = 1000


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


def preview_of(values: Mapping[str, Any], rows: int | None, name: str = "schedule") -> SchedulePreview:
    """What `values` of a TrainSpec would do with a table of `rows` rows (None: not known yet).

    Target and features do not matter to it: a form that is not filled in yet has its preview.
    """
    given = {**values, "target": "y", "features": None, "task": values.get("task") or "regression"}
    try:
        spec = parse_model(TrainSpec, given, strict=False, prefix="")
    except Invalid as failure:
        return SchedulePreview(wrong=[str(error["field"]) for error in failure.errors])
    known = training_rows(spec, rows) if rows is not None else None
    phases = phases_of(spec.schedule, spec.epochs, known) if known else []
    steps = sum(phase.steps for phase in phases)
    drawn = steps or max(STEPS_WITHOUT_ROWS, 2 * spec.schedule.warmup_steps)
    return SchedulePreview(
        rows=known,
        epochs=spec.epochs,
        steps=steps,
        phases=phases,
        rates=rate_chart(spec, drawn, name) if known != 0 else None,
        sizes=size_chart(phases, name) if len(phases) > 1 else None,
        notes=notes_of(spec, rows, known, steps),
    )


def rate_chart(spec: TrainSpec, steps: int, name: str) -> dict[str, Any]:
    """Logarithmic where the rate decays: a tenth of it would lie on the axis."""
    points = learning_rates(spec.schedule, steps)
    return {
        "series": [{"label": _("learning rate"), "points": points}],
        "x_unit": _("step"),
        "y_unit": _("learning rate"),
        "log": min(rate for _step, rate in points) < max(rate for _step, rate in points) / 20,
        "id": f"{name}-rate",
        "small": True,
    }


def size_chart(phases: list[Phase], name: str) -> dict[str, Any]:
    points = [(step, float(size)) for step, size in batches(phases)]
    return {
        "series": [{"label": _("batch size"), "points": points}],
        "x_unit": _("step"),
        "y_unit": _("batch size, rows"),
        "id": f"{name}-batch",
        "small": True,
    }


def notes_of(spec: TrainSpec, rows: int | None, known: int | None, steps: int) -> list[str]:
    """What a reader would want to know before the training has run."""
    if known is None:
        return [_("Choose a table: its rows decide how many steps there are.")]
    told = []
    if known < ROWS_AT_LEAST:
        text = _("The table has %(rows)s rows, which leave %(known)s to train on: too few.")
        told.append(text % {"rows": f"{rows:,}", "known": f"{known:,}"})
    if 0 < steps <= spec.schedule.warmup_steps:
        text = _("The warm-up of %(warmup)s steps is longer than the training: the highest rate is never reached.")
        told.append(text % {"warmup": f"{spec.schedule.warmup_steps:,}"})
    if steps > DECAY_STEPS:
        text = _("Every %(steps)s steps the learning rate falls to a tenth.")
        told.append(text % {"steps": f"{DECAY_STEPS:,}"})
    if spec.patience and steps:
        text = _("It may end earlier: after %(patience)s epochs without a lower validation loss.")
        told.append(text % {"patience": f"{spec.patience:,}"})
    return told
