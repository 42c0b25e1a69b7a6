"""Pages of a new job and of a new pipeline."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.core import policy
from apps.core.errors import NotFound, PlaneError
from apps.core.messages import translate_error
from apps.ml.pipelines.queries import get_pipeline
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.accounts.projects import get_project_context
from apps.platform.jobs.kinds import KINDS
from apps.web.new_job.code_archives import upload_archive
from apps.web.new_job.job_form import JobForm
from apps.web.new_job.layout import group_kinds
from apps.web.new_job.pipeline_form import PipelineForm
from apps.web.new_job.rerun_form import RerunForm
from apps.web.new_job.train_modes import TAKE_OVER


@require_safe
def choose_kind(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/jobs/new: what shall it do?"""
    actor, in_project = get_project_context(request, project)
    policy.require(actor, "job.submit", in_project)
    kinds = [key for key, kind in KINDS.items() if not kind.internal]
    context = {"nav": "jobs", "kinds": kinds, "groups": group_kinds(kinds), "version": request.GET.get("version")}
    return render(request, "new_job/kinds.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def create_job(request: HttpRequest, project: str, kind: str) -> HttpResponse:
    """/p/<slug>/jobs/new/<kind>: blank, from a version (?version=), or from another job (?from=).

    POST with op=check answers the form with errors for htmx, op=ahead what it would do, op=sample also what it would
    change in the first rows; op=upload stores the code of a script; op=add:…, del:…, up:… and down:… change a list;
    op=take-over fills in what was typed in another form of the same kind; op=submit queues.
    """
    actor, in_project = get_project_context(request, project)
    policy.require(actor, "job.submit", in_project)
    offered = [key for key, each in KINDS.items() if not each.internal]
    if kind not in offered:
        raise NotFound("There is no job kind {kind!r}.", kind=kind[:40], field="kind", limit=", ".join(offered))
    form = JobForm(actor, in_project, kind)
    if request.method == "POST" and request.POST.get("op") == "upload" and KINDS[kind].user_code:
        try:
            digest = upload_archive(actor, in_project, request.FILES.get("file"))  # type: ignore[arg-type]
        except PlaneError as failure:
            form.upload_error, form.status = translate_error(failure.first()), failure.status
        else:
            return redirect(f"{request.path}?{urlencode({'code': digest})}")
    elif request.method == "POST" and request.POST.get("op") == TAKE_OVER:
        form.take_over(request.POST)
    elif request.method == "POST":
        form.bind(request.POST)
        job = form.handle(request.POST.get("op", "submit"))
        if job is not None:
            messages.success(request, _("Job %(number)s is queued.") % {"number": job.pk})
            return redirect("jobs:detail", project=in_project.slug, pk=job.pk)
    else:
        form.fill_from_query(request.GET)
    alone = bool(request.htmx) and request.POST.get("op") == "check"  # type: ignore[attr-defined]
    template = "new_job/job_form.html" if request.htmx else "new_job/job.html"  # type: ignore[attr-defined]
    context = {"nav": "jobs", "key": kind, "kind": KINDS[kind], "form": form, "alone": alone}
    return render(request, template, context, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
def create_pipeline(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/pipelines/new: from a template (?template=) and a version (?version=).

    POST with op=check answers the form with errors for htmx, op=ahead what it would do, op=sample also what cleaning
    would change in the first rows; op=take-over fills in what was typed in the form of a job or a sweep; op=submit
    submits.
    """
    actor, where = get_project_context(request, project)
    policy.require(actor, "pipeline.submit", where)
    key = request.GET.get("template") or next(iter(TEMPLATES))
    if key not in TEMPLATES:
        raise NotFound(
            "There is no pipeline template {key!r}.", key=key[:60], field="template", limit=", ".join(TEMPLATES)
        )
    form = PipelineForm(actor, where, key)
    if request.method == "POST" and request.POST.get("op") == TAKE_OVER:
        form.take_over(request.POST)
    elif request.method == "POST":
        form.bind(request.POST)
        pipeline = form.handle(request.POST.get("op", "submit"))
        if pipeline is not None:
            messages.success(request, _("Pipeline %(number)s is queued.") % {"number": pipeline.pk})
            return redirect("pipelines:detail", project=where.slug, pk=pipeline.pk)
    else:
        form.begin(request.GET.get("version", ""))
    page = "new_job/pipeline_form.html" if request.htmx else "new_job/pipeline.html"  # type: ignore[attr-defined]
    alone = bool(request.htmx) and request.POST.get("op") == "check"  # type: ignore[attr-defined]
    context = {"nav": "jobs", "form": form, "template": TEMPLATES[key], "alone": alone}
    return render(request, page, context, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
def rerun_pipeline(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/pipelines/<id>/rerun?from=<step>: the step's spec to change, then the step and all below it anew."""
    actor, where = get_project_context(request, project)
    pipeline = get_pipeline(actor, where, pk)
    policy.require(actor, "pipeline.submit", pipeline)
    form = RerunForm(actor, pipeline, request.GET.get("from", ""))
    if request.method == "POST":
        form.bind(request.POST)
        new_pipeline = form.handle(request.POST.get("op", "submit"))
        if new_pipeline is not None:
            messages.success(request, _("Pipeline %(number)s is queued.") % {"number": new_pipeline.pk})
            return redirect("pipelines:detail", project=where.slug, pk=new_pipeline.pk)
    page = "new_job/rerun_form.html" if request.htmx else "new_job/rerun.html"  # type: ignore[attr-defined]
    alone = bool(request.htmx) and request.POST.get("op") == "check"  # type: ignore[attr-defined]
    context = {"nav": "jobs", "pipeline": pipeline, "form": form, "kind": KINDS[form.step.kind], "alone": alone}
    return render(request, page, context, status=form.status)
