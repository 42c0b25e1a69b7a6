"""Pages of the studies that this plane coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.errors import PlaneError, Refused
from apps.core.messages import translate_error
from apps.core.policy import is_allowed, require
from apps.ml.federation import exports, presenters, queries, services
from apps.ml.federation.certificates import compute_fingerprint
from apps.ml.federation.forms import FileForm, StudyForm
from apps.ml.federation.models import Site, Study
from apps.ml.federation.states import ENDED_STUDY, SiteState, StudyState
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline

REASON_LENGTH = 500
MAX_ROUNDS = 200  # of the page; REST pages them all


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/studies/new"""
    actor, where = get_project_context(request, project)
    require(actor, "federation.create_study", where)
    form = StudyForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        study = form.create(actor, where)
        if study is not None:
            messages.success(request, _("The study %(name)s is created. Invite its sites.") % {"name": study.name})
            return redirect("federation:study", project=where.slug, pk=study.pk)
    data, data_error = request.GET.get("data", "").strip(), ""
    if request.method != "POST" and data:
        try:
            form.fill_schema(actor, where, data)
        except PlaneError as failure:
            data_error = translate_error(failure)
    context = {
        "nav": "models",
        "form": form,
        "data": data,
        "data_error": data_error,
        "versions": queries.list_version_choices(actor, where),
    }
    is_refused = bool(form.problems or form.error or data_error)
    return render(request, "federation/new.html", context, status=422 if is_refused else 200)


@require_safe
def show_study(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/studies/<id>: what runs, its sites, rounds as they come, and the result per site."""
    actor, where = get_project_context(request, project)
    study = queries.get_study(actor, where, pk)
    sites = list(study.sites.order_by("name"))
    joined = sum(site.state == SiteState.JOINED for site in sites)
    is_open = study.state in (StudyState.DRAFT, StudyState.OPEN)
    rounds = list(queries.list_rounds(actor, study).order_by("-number")[:MAX_ROUNDS])
    can_register = study.state == StudyState.COMPLETED and study.result_version_id is None
    context: dict[str, Any] = {
        "nav": "models",
        "study": study,
        "colour": presenters.STUDY_COLOURS[StudyState(study.state)],
        "next_step": presenters.describe_study_step(study, joined),
        "about": presenters.describe_study(study.document),
        "fingerprint": compute_fingerprint(study.authority_certificate),
        "sites": [{"site": site, "colour": presenters.SITE_COLOURS[SiteState(site.state)]} for site in sites],
        "joined": joined,
        "rounds": presenters.list_round_rows(rounds),
        "comparison": (comparison := presenters.list_comparison_rows(study.result)),
        "has_pooled": any(row["cells"][2] != presenters.NO_FIGURE for row in comparison),
        "is_live": study.state == StudyState.RUNNING,
        "is_open": is_open,
        "may_invite": is_open and is_allowed(actor, "federation.invite_site", study),
        "may_start": study.state == StudyState.OPEN and is_allowed(actor, "federation.start_study", study),
        "may_stop": study.state not in ENDED_STUDY and is_allowed(actor, "federation.stop_study", study),
        "may_register": can_register and is_allowed(actor, "federation.register_result", study),
        "events": get_timeline(actor, "study", study.pk, limit=10),
    }
    return render(request, "federation/study.html", context)


@require_POST
def invite(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    name = request.POST.get("name", "").strip()
    return change_study(
        request,
        project,
        pk,
        lambda actor, study: services.invite_site(actor=actor, study=study, name=name),
        _("The site is invited: download its invitation."),
    )


@require_POST
def start(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    return change_study(
        request,
        project,
        pk,
        lambda actor, study: services.start_study(actor=actor, study=study),
        _("The study starts as soon as a worker is free."),
    )


@require_POST
def stop(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reason = request.POST.get("reason", "").strip()[:REASON_LENGTH]
    return change_study(
        request,
        project,
        pk,
        lambda actor, study: services.stop_study(actor=actor, study=study, reason=reason),
        _("The study is stopped."),
    )


@require_POST
def register(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    model = request.POST.get("model", "").strip()
    return change_study(
        request,
        project,
        pk,
        lambda actor, study: services.register_result(actor=actor, study=study, model=model),
        _("The result is a model version now."),
    )


def change_study(
    request: HttpRequest, project: str, pk: int, write: Callable[[Any, Study], Any], done: str
) -> HttpResponseRedirect:
    """Back to the study, with what was done or why it was not."""
    actor, where = get_project_context(request, project)
    study = queries.get_study(actor, where, pk)
    notify(request, lambda: write(actor, study), done)
    return redirect("federation:study", project=where.slug, pk=pk)


def notify(request: HttpRequest, write: Callable[[], Any], done: str) -> None:
    """Say on the next page what was done, or why it was not."""
    try:
        write()
    except Refused:
        raise
    except PlaneError as failure:
        messages.error(request, translate_error(failure))
    else:
        messages.success(request, done)


# -- sites ----------------------------------------------------------------------------------------------------------
@require_POST
def enrol(request: HttpRequest, project: str, pk: int, name: str) -> HttpResponseRedirect:
    """Sign the certificate that the uploaded file requests."""
    form = FileForm(request.POST)
    upload = request.FILES.get("file")
    return change_site(
        request,
        project,
        pk,
        name,
        lambda actor, site: services.enrol_site(actor=actor, site=site, content=form.read(upload)),
        _("The site has joined. Send its certificate back."),
    )


@require_POST
def remove(request: HttpRequest, project: str, pk: int, name: str) -> HttpResponseRedirect:
    reason = request.POST.get("reason", "").strip()[:REASON_LENGTH]
    return change_site(
        request,
        project,
        pk,
        name,
        lambda actor, site: services.remove_site(actor=actor, site=site, reason=reason),
        _("The site is removed."),
    )


def change_site(
    request: HttpRequest, project: str, pk: int, name: str, write: Callable[[Any, Site], Any], done: str
) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    site = queries.get_site(actor, queries.get_study(actor, where, pk), name)
    notify(request, lambda: write(actor, site), done)
    return redirect("federation:study", project=where.slug, pk=pk)


@require_safe
def download_invitation(request: HttpRequest, project: str, pk: int, name: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    site = queries.get_site(actor, queries.get_study(actor, where, pk), name)
    text = exports.render_site_invitation(actor, site)
    return exports.build_download(text, f"{site.study.name}-{site.name}-invitation.json")


@require_safe
def download_certificate(request: HttpRequest, project: str, pk: int, name: str) -> HttpResponse:
    actor, where = get_project_context(request, project)
    site = queries.get_site(actor, queries.get_study(actor, where, pk), name)
    text = exports.render_site_certificate(actor, site)
    return exports.build_download(text, f"{site.study.name}-{site.name}-certificate.json")
