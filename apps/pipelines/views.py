"""Pages of pipelines: the list, the form of a new one, one with its tabs, and what can be done to it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps import policy
from apps.actors import Actor
from apps.audit.reads import timeline
from apps.errors import Conflict, Invalid, NotFound
from apps.jobs.kinds import KINDS
from apps.jobs.services import retry_job
from apps.jobs.states import JobState
from apps.jobs.views import flat, within
from apps.pages import page_asked
from apps.pipelines import reads, services
from apps.pipelines.forms import PipelineForm
from apps.pipelines.layout import drawn
from apps.pipelines.models import Pipeline, PipelineStep
from apps.pipelines.reads import Whole
from apps.pipelines.rerun_form import RerunForm
from apps.pipelines.states import PipelineState
from apps.pipelines.streams import mark_of
from apps.pipelines.templates import TEMPLATES
from apps.policy import allows

TABS = ("overview", "document", "audit")
OUTSIDE = "#{}"  # what a job of no step is called in the graph; no step can be called so


# -- the list -------------------------------------------------------------------------------------------------------
@require_safe
def pipeline_list(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/pipelines: newest first, narrowed by the query; a filter of nonsense is said, and shows nothing."""
    actor, where = within(request, project)
    asked = {name: request.GET.get(name, "")[:200] for name in reads.FILTERS}
    wrong: Invalid | None = None
    try:
        pipelines = reads.list_pipelines(actor, where, **asked)
    except Invalid as error:
        wrong, pipelines = error, reads.list_pipelines(actor, where).none()
    page = page_asked(pipelines, request.GET)
    summaries = reads.summaries(pipeline.pk for pipeline in page.items)
    context = {
        "nav": "jobs",
        "page": page,
        "rows": [{"pipeline": one, "summary": summaries[one.pk]} for one in page.items],
        "filters": filter_bar(asked),
        "active": any(asked.values()),
        "wrong": wrong,
        "running": reads.list_pipelines(actor, where, state=PipelineState.RUNNING).count(),
        "may_submit": allows(actor, "pipeline.submit", where),
        "command": example(request, where.slug),
    }
    return render(request, "pipelines/list.html", context, status=wrong.status if wrong else 200)


def filter_bar(asked: dict[str, str]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), *((value, str(word)) for value, word in PipelineState.choices)]
    templates = [("", _("Every template")), *((key, str(template.label)) for key, template in TEMPLATES.items())]
    return [
        {"name": "name", "label": _("Name"), "value": asked["name"]},
        {"name": "state", "label": _("State"), "value": asked["state"], "choices": states},
        {"name": "template", "label": _("Template"), "value": asked["template"], "choices": templates},
        {"name": "requester", "label": _("Who"), "value": asked["requester"]},
    ]


def example(request: HttpRequest, slug: str) -> str:
    """A pipeline from a terminal: two steps that do nothing, to try it."""
    url = request.build_absolute_uri(reverse("api-pipelines", args=[slug]))
    body = '{"steps": [{"name": "first", "kind": "noop"}, {"name": "second", "kind": "noop", "after": ["first"]}]}'
    headers = '-H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json"'
    return f"curl -X POST {url} {headers} -d '{body}'"


# -- a new one ------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def new_pipeline(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/pipelines/new: from a template (?template=) and a version (?version=).

    POST with op=check answers the form with errors for htmx; op=submit submits.
    """
    actor, where = within(request, project)
    policy.require(actor, "pipeline.submit", where)
    key = request.GET.get("template") or next(iter(TEMPLATES))
    if key not in TEMPLATES:
        raise NotFound(f"There is no pipeline template {key[:60]!r}.", field="template", limit=", ".join(TEMPLATES))
    form = PipelineForm(actor, where, key)
    if request.method == "POST":
        form.bind(request.POST)
        pipeline = form.handle(request.POST.get("op", "submit"))
        if pipeline is not None:
            messages.success(request, _("Pipeline %(number)s is queued.") % {"number": pipeline.pk})
            return redirect("pipelines:detail", project=where.slug, pk=pipeline.pk)
    else:
        form.begin(request.GET.get("version", ""))
    page = "pipelines/new_form.html" if request.htmx else "pipelines/new.html"  # type: ignore[attr-defined]
    context = {"nav": "jobs", "form": form, "template": TEMPLATES[key], "where": form.where}
    return render(request, page, context, status=form.status)


# -- one ------------------------------------------------------------------------------------------------------------
@require_safe
def pipeline_page(request: HttpRequest, project: str, pk: int, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/pipelines/<id>[/<tab>]"""
    actor, where = within(request, project)
    pipeline = reads.get_pipeline(actor, where, pk)
    found = reads.whole(pipeline)
    context = head_context(actor, found) | {"tab": tab}
    if tab == "overview":
        context |= overview(actor, found, where.slug)
    elif tab == "document":
        document = json.loads(pipeline.document)
        context |= {"text": json.dumps(document, ensure_ascii=False, indent=2)}
        context |= {"rows": flat(document.get("parameters") or {})}
    elif tab == "audit":
        context["events"] = timeline(actor, "pipeline", pipeline.pk)
    return render(request, f"pipelines/{tab}.html", context)


def head_context(actor: Actor, found: Whole) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    pipeline, summary = found.pipeline, found.summary
    template = TEMPLATES.get(pipeline.template)
    stoppable = summary.moving > summary.cancelling
    may_submit = allows(actor, "pipeline.submit", pipeline)
    return {
        "nav": "jobs",
        "pipeline": pipeline,
        "found": found,
        "summary": summary,
        "reruns": reads.reruns_of(pipeline),
        "template_label": str(template.label) if template else "",
        "may_cancel": stoppable and allows(actor, "pipeline.cancel", pipeline),
        "again": reads.rerunnable(found) if may_submit else [],
        "may_submit": may_submit,
    }


def overview(actor: Actor, found: Whole, slug: str) -> dict[str, Any]:
    failed = reads.first_failed(found.steps) if not found.summary.moving else None
    return {
        "rows": [row_of(step) for step in found.steps],
        "graph": graph_of(found, slug),
        "sources": reads.sources_of(found),
        "rerun_body": {"from": "STEP", "changes": {}},
        "mark": mark_of(step.job for step in found.steps),
        "failed": failed,
        "named": bool(failed and (failed.job.error or {}).get("field")),
        "may_retry": failed is not None and allows(actor, "job.retry", failed.job),
    }


def row_of(step: PipelineStep) -> dict[str, Any]:
    job = step.job
    return {"step": step, "job": job, "state": reads.shown_state(job), "progress": reads.progress_of(job)}


def graph_of(found: Whole, slug: str) -> dict[str, Any] | None:
    """The steps where they stand, with what feeds them from outside; None for a graph too dense to be read."""
    outside = {OUTSIDE.format(job.pk): job for job in list(found.outside.values())[: reads.OUTSIDE_SHOWN]}
    parents: dict[str, list[str]] = {name: [] for name in outside}
    parents |= {name: list(above) for name, above in found.parents.items()}
    for name, job in outside.items():
        for child in job.feeds:
            parents[child].append(name)
    drawing = drawn(parents)
    if drawing is None:
        return None
    nodes = {step.name: (step.job.pk, step.job.kind, reads.shown_state(step.job)) for step in found.steps}
    nodes |= {name: (job.pk, job.kind, job.state) for name, job in outside.items()}
    return {
        "width": drawing.width,
        "height": drawing.height,
        "edges": drawing.edges,
        "nodes": [
            {
                "box": box,
                "kind": nodes[box.name][1],
                "state": nodes[box.name][2],
                "word": word_of(nodes[box.name][2]),
                "outside": box.name in outside,
                "url": reverse("jobs:detail", args=[slug, nodes[box.name][0]]),
            }
            for box in drawing.boxes
        ],
    }


def word_of(state: str) -> str:
    words = {"cancelling": _("Being cancelled"), "not_run": _("Not run")}
    return words.get(state) or str(JobState(state).label)


# -- what one can do to it ------------------------------------------------------------------------------------------
@require_POST
def cancel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Cancel all of it with a reason; one that has ended meanwhile is said, not an error page."""
    actor, where = within(request, project)
    pipeline = reads.get_pipeline(actor, where, pk)
    try:
        reason = request.POST.get("reason", "").strip()[:500]
        services.cancel_pipeline(actor=actor, pipeline=pipeline, reason=reason)
    except Conflict as error:
        messages.warning(request, error.message)
    else:
        moving = reads.moving_now(pipeline.pk)
        messages.success(
            request, _("The workers were asked to stop what runs.") if moving else _("The pipeline is cancelled.")
        )
    return redirect("pipelines:detail", project=where.slug, pk=pipeline.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def rerun(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/pipelines/<id>/rerun?from=<step>: the step's spec to change, then the step and all below it anew."""
    actor, where = within(request, project)
    pipeline = reads.get_pipeline(actor, where, pk)
    policy.require(actor, "pipeline.submit", pipeline)
    form = RerunForm(actor, pipeline, request.GET.get("from", ""))
    if request.method == "POST":
        form.bind(request.POST)
        made = form.handle(request.POST.get("op", "submit"))
        if made is not None:
            messages.success(request, _("Pipeline %(number)s is queued.") % {"number": made.pk})
            return redirect("pipelines:detail", project=where.slug, pk=made.pk)
    page = "pipelines/rerun_form.html" if request.htmx else "pipelines/rerun.html"  # type: ignore[attr-defined]
    context = {"nav": "jobs", "pipeline": pipeline, "form": form, "kind": KINDS[form.step.kind], "where": form.where}
    return render(request, page, context, status=form.status)


@require_POST
def retry_step(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Queue the job of the step that failed again, in this pipeline; what failed because of it waits again."""
    actor, where = within(request, project)
    pipeline = reads.get_pipeline(actor, where, pk)
    failed = reads.first_failed(steps_with_jobs(pipeline))
    try:
        if failed is None:
            raise Conflict(_("No step of it has failed."), code="not_retryable", field="state")
        retry_job(actor=actor, job=failed.job)
    except Conflict as error:
        messages.warning(request, error.message)
    else:
        messages.success(request, _("%(step)s is queued again.") % {"step": failed.name})
    return redirect("pipelines:detail", project=where.slug, pk=pipeline.pk)


def steps_with_jobs(pipeline: Pipeline) -> list[PipelineStep]:
    return list(pipeline.steps.select_related("job").order_by("position"))
