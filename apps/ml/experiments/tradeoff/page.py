"""The tab of a run that measured several forms of one model."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from apps.core.actors import Actor
from apps.ml.experiments.diagnostics.documents import DiagnosticFiles, read_tradeoff
from apps.ml.experiments.models import Run
from apps.ml.experiments.tradeoff.charts import build_scatter, build_sensitivity, list_axes, list_kept_layers
from apps.ml.experiments.tradeoff.presenters import (
    build_rows,
    build_timing_rows,
    describe_rule,
    explain_left_out,
)
from apps.platform.jobs.models import JobOutput


def build_tradeoff_context(request: HttpRequest, actor: Actor, run: Run, files: DiagnosticFiles) -> dict[str, Any]:
    """What the tab shows; only `files` where there is no document, or one that cannot be drawn."""
    document = read_tradeoff(actor, run, files.tradeoff)
    if document is None:
        return {"files": files}
    axes = list_axes(document)
    expected = request.GET.get("x", "")
    axis = expected if expected in dict(axes) else axes[0][0]
    rows = build_rows(document)
    return {
        "files": files,
        "tradeoff": document,
        "rows": rows,
        "best": rows[0],
        "rule": describe_rule(document),
        "axes": axes,
        "axis": axis,
        "chart": build_scatter(document, axis),
        "sensitivity": build_sensitivity(document.sensitivity) if document.sensitivity else None,
        "kept": list_kept_layers(document),
        "timings": build_timing_rows(document),
        "left_out": [{"name": left.name, "why": explain_left_out(left)} for left in document.left_out],
        "notes": document.model_dump(mode="json", by_alias=True),
        "model_file": find_model_file(run),
    }


def find_model_file(run: Run) -> str:
    """The digest of the recommended form's file; empty where no job made it."""
    outputs = JobOutput.objects.filter(job_id=run.job_id, slot="model") if run.job_id else JobOutput.objects.none()
    return outputs.values_list("artifact_id", flat=True).first() or ""
