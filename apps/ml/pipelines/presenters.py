"""What the overview of a pipeline shows: its steps as rows, as a graph and on the axis of time."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.ml.pipelines import queries
from apps.ml.pipelines.gantt import build_gantt
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import LoadedPipeline
from apps.ml.pipelines.streams import compute_mark
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.lineage.layout import draw_graph

OUTSIDE = "#{}"  # what a job of no step is called in the graph; no step can be called so


def build_overview(actor: Actor, loaded: LoadedPipeline, slug: str) -> dict[str, Any]:
    failed = queries.find_first_failed(loaded.steps) if not loaded.summary.moving else None
    return {
        "gantt": build_gantt(loaded.steps, timezone.now()),
        "rows": [build_row(step) for step in loaded.steps],
        "graph": build_graph(loaded, slug),
        "sources": queries.find_sources(loaded),
        "rerun_body": {"from": "STEP", "changes": {}},
        "mark": compute_mark(step.job for step in loaded.steps),
        "failed": failed,
        "named": bool(failed and (failed.job.error or {}).get("field")),
        "may_retry": failed is not None and is_allowed(actor, "job.retry", failed.job),
    }


def build_row(step: PipelineStep) -> dict[str, Any]:
    job = step.job
    return {"step": step, "job": job, "state": queries.get_display_state(job), "progress": queries.get_progress(job)}


def build_graph(loaded: LoadedPipeline, slug: str) -> dict[str, Any] | None:
    """The steps where they stand, with what feeds them from outside; None for a graph too dense to be read."""
    outside = {OUTSIDE.format(job.pk): job for job in list(loaded.outside.values())[: queries.MAX_EXTERNAL_JOBS]}
    parents: dict[str, list[str]] = {name: [] for name in outside}
    parents |= {name: list(above) for name, above in loaded.parents.items()}
    for name, job in outside.items():
        for child in job.feeds:
            parents[child].append(name)
    drawing = draw_graph(parents)
    if drawing is None:
        return None
    nodes = {step.name: build_node(step.job) for step in loaded.steps}
    nodes |= {
        name: {"pk": job.pk, "kind": job.kind, "state": job.state, "word": get_state_label(job.state), "outside": True}
        for name, job in outside.items()
    }
    return {
        "width": drawing.width,
        "height": drawing.height,
        "edges": drawing.edges,
        "nodes": [
            {"box": box, "url": reverse("jobs:detail", args=[slug, nodes[box.name]["pk"]]), **nodes[box.name]}
            for box in drawing.boxes
        ],
    }


def build_node(job: Job) -> dict[str, Any]:
    """What a box of the graph tells of its step: state, share while it runs, and how long it took."""
    state, running = queries.get_display_state(job), job.state == JobState.RUNNING
    took = (job.ended_at - job.claimed_at).total_seconds() if job.ended_at and job.claimed_at else None
    share = queries.get_progress(job).get("share") if running else None
    facts = {"pk": job.pk, "kind": job.kind, "state": state, "word": get_state_label(state), "outside": False}
    meter = f"{min(1.0, max(0.0, share or 0)) * 100:.1f}"
    return facts | {"running": running, "share": share, "meter": meter, "took": took}


def get_state_label(state: str) -> str:
    words = {"cancelling": _("Being cancelled"), "not_run": _("Not run")}
    return words.get(state) or str(JobState(state).label)
