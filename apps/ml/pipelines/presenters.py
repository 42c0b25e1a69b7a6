"""What the overview of a pipeline shows: its steps as rows, as a graph and on the axis of time."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.ml.pipelines import queries
from apps.ml.pipelines.gantt import gantt_of
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import Whole
from apps.ml.pipelines.streams import mark_of
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.lineage.layout import drawn

OUTSIDE = "#{}"  # what a job of no step is called in the graph; no step can be called so


def overview(actor: Actor, found: Whole, slug: str) -> dict[str, Any]:
    failed = queries.first_failed(found.steps) if not found.summary.moving else None
    return {
        "gantt": gantt_of(found.steps, timezone.now()),
        "rows": [row_of(step) for step in found.steps],
        "graph": graph_of(found, slug),
        "sources": queries.sources_of(found),
        "rerun_body": {"from": "STEP", "changes": {}},
        "mark": mark_of(step.job for step in found.steps),
        "failed": failed,
        "named": bool(failed and (failed.job.error or {}).get("field")),
        "may_retry": failed is not None and is_allowed(actor, "job.retry", failed.job),
    }


def row_of(step: PipelineStep) -> dict[str, Any]:
    job = step.job
    return {"step": step, "job": job, "state": queries.shown_state(job), "progress": queries.progress_of(job)}


def graph_of(found: Whole, slug: str) -> dict[str, Any] | None:
    """The steps where they stand, with what feeds them from outside; None for a graph too dense to be read."""
    outside = {OUTSIDE.format(job.pk): job for job in list(found.outside.values())[: queries.OUTSIDE_SHOWN]}
    parents: dict[str, list[str]] = {name: [] for name in outside}
    parents |= {name: list(above) for name, above in found.parents.items()}
    for name, job in outside.items():
        for child in job.feeds:
            parents[child].append(name)
    drawing = drawn(parents)
    if drawing is None:
        return None
    nodes = {step.name: node_of(step.job) for step in found.steps}
    nodes |= {
        name: {"pk": job.pk, "kind": job.kind, "state": job.state, "word": word_of(job.state), "outside": True}
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


def node_of(job: Job) -> dict[str, Any]:
    """What a box of the graph tells of its step: state, share while it runs, and how long it took."""
    state, running = queries.shown_state(job), job.state == JobState.RUNNING
    took = (job.ended_at - job.claimed_at).total_seconds() if job.ended_at and job.claimed_at else None
    share = queries.progress_of(job).get("share") if running else None
    facts = {"pk": job.pk, "kind": job.kind, "state": state, "word": word_of(state), "outside": False}
    meter = f"{min(1.0, max(0.0, share or 0)) * 100:.1f}"
    return facts | {"running": running, "share": share, "meter": meter, "took": took}


def word_of(state: str) -> str:
    words = {"cancelling": _("Being cancelled"), "not_run": _("Not run")}
    return words.get(state) or str(JobState(state).label)
