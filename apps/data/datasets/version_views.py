"""Actions on one version: tag, delete, diff its rows with another's."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.errors import NotFound, PlaneError, Refused
from apps.core.messages import translate_error
from apps.data.datasets import queries
from apps.data.datasets.quality.profile_job_retention import find_running_profile_job
from apps.data.datasets.versions.deletion import delete_version
from apps.data.datasets.versions.row_diff import submit_diff
from apps.data.datasets.versions.tags import remove_version_tag, tag_version
from apps.platform.accounts.projects import get_project_context


def show_error(request: HttpRequest, failure: PlaneError) -> None:
    """Show an error above the page."""
    messages.error(request, translate_error(failure))


@require_safe
def show_measuring(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """The part of the head of a version that renews itself while a job measures it; then the page is loaded anew."""
    actor, in_project = get_project_context(request, project)
    dataset_version = queries.get_version(actor, in_project, name, version)
    job = find_running_profile_job(dataset_version)
    answer = render(
        request,
        "datasets/measuring.html",
        {"version": dataset_version, "dataset": dataset_version.dataset, "measuring": job},
    )
    if job is None:
        answer["HX-Refresh"] = "true"
    return answer


@require_POST
def tag(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """/p/<slug>/data/<name>/<version>/tag: set, move (`move`) or take away (`remove`) a tag."""
    actor, in_project = get_project_context(request, project)
    dataset_version = queries.get_version(actor, in_project, name, version)
    tag_name = (request.POST.get("name") or request.POST.get("remove") or "").strip()[:100]
    try:
        if request.POST.get("remove"):
            remove_version_tag(actor=actor, version=dataset_version, name=tag_name)
            messages.success(request, _("The tag %(tag)s is gone.") % {"tag": tag_name})
        else:
            tag_version(actor=actor, version=dataset_version, name=tag_name, move=bool(request.POST.get("move")))
            names = {"tag": tag_name, "version": str(dataset_version)}
            messages.success(request, _("%(tag)s names %(version)s now.") % names)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        show_error(request, failure)
    return redirect("datasets:version", project=in_project.slug, name=name, version=dataset_version.number)


@require_POST
def delete(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """/p/<slug>/data/<name>/<version>/delete"""
    actor, in_project = get_project_context(request, project)
    dataset_version = queries.get_version(actor, in_project, name, version)
    try:
        delete_version(actor=actor, version=dataset_version, reason=request.POST.get("reason", ""))
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        show_error(request, failure)
        return redirect("datasets:version", project=in_project.slug, name=name, version=dataset_version.number)
    messages.success(request, _("%(version)s is deleted.") % {"version": str(dataset_version)})
    return redirect("datasets:dataset", project=in_project.slug, name=name)


@require_POST
def diff(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """/p/<slug>/data/<name>/<version>/diff: queue the comparison with `with`, by the columns `key`."""
    actor, in_project = get_project_context(request, project)
    dataset_version = queries.get_version(actor, in_project, name, version)
    reference = request.POST.get("with", "")[:120]
    before_version = queries.get_version_by_reference(actor, in_project, name, reference)
    keys = list(dict.fromkeys(key for key in request.POST.getlist("key") if key))
    try:
        submit_diff(actor=actor, project=in_project, before=before_version, after=dataset_version, keys=keys)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        show_error(request, failure)
    page = reverse("datasets:compare", args=[in_project.slug, name, dataset_version.number])
    return HttpResponseRedirect(f"{page}?{urlencode({'with': reference})}#rows")
