"""Preview of a job on a table before it is queued: what it would change, and the memory it would need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.platform.jobs.spec_validation import parse_model
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.web.new_job.clean_preview import CleanPreview, preview_clean
from apps.web.new_job.plan_columns import describe_step
from deepseek.clean import plan as clean_plan
from deepseek.clean.spec import CleanSpec
from deepseek.train import plan as train_plan
from deepseek.train.spec import TrainSpec

STEP_ITEMS = CleanSpec.model_json_schema()["properties"]["steps"]["anyOf"][0]["items"]
MAX_CELL_LETTERS, SIGNIFICANT_DIGITS = 8, 6  # letters of a cell, and figures where it has more


def preview_table(
    table: DatasetFile | None, spec: CleanSpec | None, second: DatasetFile | None = None
) -> CleanPreview | None:
    """What cleaning would change in the first rows; None without a table, or while the spec is invalid.

    `second`: the table that a plan joins.
    """
    preview = (
        preview_clean(table.artifact, spec, second=second.artifact if second else None) if table and spec else None
    )
    if preview is None or preview.document is None:
        return preview
    changes = [
        change | {end: shorten_number(change[end]) for end in ("before", "after")}
        for change in preview.document["changes"]
    ]
    titles = dict(SpecForm("clean").list_entry_kinds(STEP_ITEMS))
    steps = [
        step | {"title": titles.get(step["step"], step["step"]), "told": describe_step(step)}
        if "number" in step
        else step
        for step in preview.document["steps"]
    ]
    return replace(preview, document={**preview.document, "changes": changes, "steps": steps})


def shorten_number(text: str | None) -> str | None:
    """Shorten a number with many digits to fit a table cell; integers and texts stay."""
    if text is None or len(text) <= MAX_CELL_LETTERS or text.lstrip("-").isdigit():
        return text
    try:
        return f"{float(text):.{SIGNIFICANT_DIGITS}g}"
    except ValueError:
        return text


def estimate_memory(version: DatasetVersion | None, values: Mapping[str, Any], kind: str) -> int | None:
    """Estimate the memory in bytes of a job of this kind on the version; None if unknown."""
    if version is None or not version.rows or not version.columns:
        return None
    if kind == "clean":
        return clean_plan.estimate_memory_bytes(version.rows, len(version.columns))
    if kind != "train":
        return None
    fields = {**values, "target": "y", "features": None, "task": values.get("task") or "regression"}
    try:
        spec = parse_model(TrainSpec, fields, strict=False, prefix="")
    except Invalid:
        return None
    return train_plan.estimate_memory(spec, version.rows, len(version.columns))
