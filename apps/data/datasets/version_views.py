"""What a person does with one version: tag it, delete it, compare its rows with another's."""

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
from apps.data.datasets.quality.profile_job_retention import measuring_job
from apps.data.datasets.versions.deletion import delete_version
from apps.data.datasets.versions.row_diff import submit_diff
from apps.data.datasets.versions.tags import tag_version, untag_version
from apps.platform.jobs.views import get_project_context


def say(request: HttpRequest, failure: PlaneError) -> None:
    """What was refused, above the page that it was asked on."""
    messages.error(request, translate_error(failure))


@require_safe
def measuring(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """The part of the head of a version that renews itself while a job measures it; then the page is loaded anew."""
    actor, where = get_project_context(request, project)
    found = queries.get_version(actor, where, name, version)
    job = measuring_job(found)
    answer = render(request, "datasets/measuring.html", {"version": found, "dataset": found.dataset, "measuring": job})
    if job is None:
        answer["HX-Refresh"] = "true"
    return answer


@require_POST
def tag(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """/p/<slug>/data/<name>/<version>/tag: set, move (`move`) or take away (`remove`) a tag."""
    actor, where = get_project_context(request, project)
    found = queries.get_version(actor, where, name, version)
    asked = (request.POST.get("name") or request.POST.get("remove") or "").strip()[:100]
    try:
        if request.POST.get("remove"):
            untag_version(actor=actor, version=found, name=asked)
            messages.success(request, _("The tag %(tag)s is gone.") % {"tag": asked})
        else:
            tag_version(actor=actor, version=found, name=asked, move=bool(request.POST.get("move")))
            told = {"tag": asked, "version": str(found)}
            messages.success(request, _("%(tag)s names %(version)s now.") % told)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        say(request, failure)
    return redirect("datasets:version", project=where.slug, name=name, version=found.number)


@require_POST
def delete(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """/p/<slug>/data/<name>/<version>/delete"""
    actor, where = get_project_context(request, project)
    found = queries.get_version(actor, where, name, version)
    try:
        delete_version(actor=actor, version=found, reason=request.POST.get("reason", ""))
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        say(request, failure)
        return redirect("datasets:version", project=where.slug, name=name, version=found.number)
    messages.success(request, _("%(version)s is deleted.") % {"version": str(found)})
    return redirect("datasets:dataset", project=where.slug, name=name)


@require_POST
def diff(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """/p/<slug>/data/<name>/<version>/diff: queue the comparison with `with`, by the columns `key`."""
    actor, where = get_project_context(request, project)
    found = queries.get_version(actor, where, name, version)
    named = request.POST.get("with", "")[:120]
    other = queries.named_version(actor, where, name, named)
    keys = list(dict.fromkeys(key for key in request.POST.getlist("key") if key))
    try:
        submit_diff(actor=actor, project=where, before=other, after=found, keys=keys)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        say(request, failure)
    page = reverse("datasets:compare", args=[where.slug, name, found.number])
    return HttpResponseRedirect(f"{page}?{urlencode({'with': named})}#rows")
