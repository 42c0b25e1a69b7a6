"""Preview of a job on a table before it is queued: what it would change, and the memory it would need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.request_values import parse_int
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.versions.data_facts import build_data_facts, build_image_facts, find_base_facts
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.scheduling.memory_fit import MemoryFit, build_memory_fit, estimate_job, raise_memory
from apps.platform.jobs.scheduling.schedule_estimate import NodeLoads
from apps.platform.jobs.spec_validation import parse_model
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.platform.jobs.submission import choose_queue
from apps.web.new_job.clean_preview import CleanPreview, preview_clean
from apps.web.new_job.plan_columns import describe_step
from deepseek.clean import plan as clean_plan
from deepseek.clean.spec import CleanSpec
from deepseek.fit.families import FAMILIES
from deepseek.fit.memory import DataFacts
from deepseek.language.spec import BASE
from deepseek.partitions.spec import MAX_PROCESSES

STEP_ITEMS = CleanSpec.model_json_schema()["properties"]["steps"]["anyOf"][0]["items"]
PLACEHOLDERS = {"train": {"task": "regression", "target": "y", "features": None}}
"""By kind: what is read in the place of a spec's required fields while the form is not filled in."""
PARTITIONED_KINDS = ("clean", "predict")  # that read a table batch by batch, in one process or several
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


@dataclass(frozen=True, slots=True)
class MemoryPreview:
    """What a job would need beside what it asks for; `fit`: part by part and node by node, of a training."""

    bytes: int
    requested: int
    fit: MemoryFit | None = None

    @property
    def enough(self) -> bool:
        return self.bytes <= self.requested


def preview_memory(
    kind: str,
    file: DatasetFile | None,
    values: Mapping[str, Any],
    needs: Needs,
    nodes: NodeLoads,
    *,
    facts: DataFacts | None = None,
) -> MemoryPreview | None:
    """The memory of a job of this kind on the table, beside every node; None while that cannot be said.

    `facts`: of its inputs, where they are more than that table.
    """
    version = file.version if file else None
    if kind in PARTITIONED_KINDS and version is not None and version.rows and version.columns:
        processes = min(parse_int(str(values.get("processes", ""))) or 1, MAX_PROCESSES)
        estimate = clean_plan.estimate_memory_bytes(version.rows, len(version.columns), processes)
        return MemoryPreview(estimate, needs.memory_bytes)
    if kind not in FAMILIES:
        return None
    spec = parse_unfinished_spec(kind, values)
    if facts is None:
        facts = build_data_facts(version, file.artifact.size) if version and file else DataFacts()
    estimate = estimate_job(kind, spec, needs, facts)
    if spec is None or estimate is None:
        return None
    needs = raise_memory(KINDS[kind], needs, estimate)
    queue = choose_queue(KINDS[kind], needs)
    fit = build_memory_fit(
        kind, spec, needs, facts, estimate, queue=queue, nodes=[node for node, _running, _kept in nodes]
    )
    return MemoryPreview(estimate.host.total, needs.memory_bytes, fit)


def find_facts(
    actor: Actor,
    project: Project,
    kind: str,
    values: Mapping[str, Any],
    *,
    table: DatasetFile | None,
    images: DatasetVersion | None,
) -> DataFacts | None:
    """What is known of the versions that a spec names, beside the table; None where it names none."""
    if images is not None:
        return build_image_facts(images)
    if kind != "train_language" or not values.get(BASE):
        return None
    return find_base_facts(actor, project, str(values[BASE]), table)


def parse_unfinished_spec(kind: str, values: Mapping[str, Any]) -> BaseModel | None:
    """The spec, with words of ours in the place of names that are not filled in yet; None while it does not hold."""
    for fields in (values, {**values, **PLACEHOLDERS.get(kind, {})}):
        try:
            return parse_model(KINDS[kind].spec, fields, strict=False, prefix="")
        except Invalid:
            continue
    return None
