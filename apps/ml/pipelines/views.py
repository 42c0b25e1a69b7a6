"""Pages of one pipeline: its tabs, what can be done to it. The list is in lists.py."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.messages import translate_message
from apps.core.policy import is_allowed
from apps.ml.pipelines import presenters, queries, services
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.pipelines.queries import LoadedPipeline
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline
from apps.platform.jobs.services import retry_job
from apps.platform.jobs.views import flatten_spec

TABS = ("overview", "document", "audit")


# -- one ------------------------------------------------------------------------------------------------------------
@require_safe
def show_pipeline(request: HttpRequest, project: str, pk: int, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/pipelines/<id>[/<tab>]"""
    actor, where = get_project_context(request, project)
    pipeline = queries.get_pipeline(actor, where, pk)
    loaded = queries.load_pipeline(pipeline)
    context = build_page_head(actor, loaded) | {"tab": tab}
    if tab == "overview":
        context |= presenters.build_overview(actor, loaded, where.slug)
    elif tab == "document":
        document = json.loads(pipeline.document)
        context |= {"text": json.dumps(document, ensure_ascii=False, indent=2)}
        parameters = dict(document.get("parameters") or {})
        context |= {"rows": [*flatten_spec(parameters.pop("params", {})), *flatten_spec(parameters)]}
    elif tab == "audit":
        context["events"] = get_timeline(actor, "pipeline", pipeline.pk)
    return render(request, f"pipelines/{tab}.html", context)


def build_page_head(actor: Actor, loaded: LoadedPipeline) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    pipeline, summary = loaded.pipeline, loaded.summary
    template = TEMPLATES.get(pipeline.template)
    stoppable = summary.moving > summary.cancelling
    may_submit = is_allowed(actor, "pipeline.submit", pipeline)
    return {
        "nav": "jobs",
        "pipeline": pipeline,
        "found": loaded,
        "summary": summary,
        "reruns": queries.list_reruns(pipeline),
        "template_label": str(template.label) if template else "",
        "may_cancel": stoppable and is_allowed(actor, "pipeline.cancel", pipeline),
        "again": queries.list_rerunnable_steps(loaded) if may_submit else [],
        "may_submit": may_submit,
    }


# -- what one can do to it ------------------------------------------------------------------------------------------
@require_POST
def cancel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Cancel all of it with a reason; one that has ended meanwhile is said, not an error page."""
    actor, where = get_project_context(request, project)
    pipeline = queries.get_pipeline(actor, where, pk)
    try:
        reason = request.POST.get("reason", "").strip()[:500]
        services.cancel_pipeline(actor=actor, pipeline=pipeline, reason=reason)
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        moving = queries.is_moving(pipeline.pk)
        messages.success(
            request, _("The workers were asked to stop what runs.") if moving else _("The pipeline is cancelled.")
        )
    return redirect("pipelines:detail", project=where.slug, pk=pipeline.pk)


@require_POST
def retry_step(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Queue the job of the step that failed again, in this pipeline; what failed because of it waits again."""
    actor, where = get_project_context(request, project)
    pipeline = queries.get_pipeline(actor, where, pk)
    failed = queries.find_first_failed(list_steps_with_jobs(pipeline))
    try:
        if failed is None:
            raise Conflict("No step of it has failed.", code="not_retryable", field="state")
        retry_job(actor=actor, job=failed.job)
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("%(step)s is queued again.") % {"step": failed.name})
    return redirect("pipelines:detail", project=where.slug, pk=pipeline.pk)


def list_steps_with_jobs(pipeline: Pipeline) -> list[PipelineStep]:
    return list(pipeline.steps.select_related("job").order_by("position"))
