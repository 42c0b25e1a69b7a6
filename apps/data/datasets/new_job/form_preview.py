"""What a form says of a job on a table before it is queued: what would change, and what it would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.new_job.clean_preview import Told, ask
from apps.data.datasets.new_job.plan_columns import told_of
from apps.platform.jobs.spec_validation import parse_model
from apps.platform.jobs.specforms.spec_form import SpecForm
from deepseek.clean import plan as clean_plan
from deepseek.clean.spec import CleanSpec
from deepseek.train import plan as train_plan
from deepseek.train.spec import TrainSpec

STEP_ITEMS = CleanSpec.model_json_schema()["properties"]["steps"]["anyOf"][0]["items"]
SHORT, DIGITS = 8, 6  # letters of a cell, and figures where it has more


def sample_of(table: DatasetFile | None, spec: CleanSpec | None, second: DatasetFile | None = None) -> Told | None:
    """What cleaning would change in the first rows; None while there is no table, or the spec does not hold.

    `second`: the table that a plan joins.
    """
    told = ask(table.artifact, spec, second=second.artifact if second else None) if table and spec else None
    if told is None or told.document is None:
        return told
    changes = [change | {end: short(change[end]) for end in ("before", "after")} for change in told.document["changes"]]
    titles = dict(SpecForm("clean").list_entry_kinds(STEP_ITEMS))
    steps = [
        step | {"title": titles.get(step["step"], step["step"]), "told": told_of(step)} if "number" in step else step
        for step in told.document["steps"]
    ]
    return replace(told, document={**told.document, "changes": changes, "steps": steps})


def short(text: str | None) -> str | None:
    """A number with many digits, as a table has room for it; whole numbers and texts stay."""
    if text is None or len(text) <= SHORT or text.lstrip("-").isdigit():
        return text
    try:
        return f"{float(text):.{DIGITS}g}"
    except ValueError:
        return text


def memory_of(version: DatasetVersion | None, values: Mapping[str, Any], kind: str) -> int | None:
    """Bytes that a job of this kind would take on the version, as the engine guesses; None where it cannot say."""
    if version is None or not version.rows or not version.columns:
        return None
    if kind == "clean":
        return clean_plan.memory_bytes(version.rows, len(version.columns))
    if kind != "train":
        return None
    given = {**values, "target": "y", "features": None, "task": values.get("task") or "regression"}
    try:
        spec = parse_model(TrainSpec, given, strict=False, prefix="")
    except Invalid:
        return None
    return train_plan.memory_bytes(spec, version.rows, len(version.columns))
