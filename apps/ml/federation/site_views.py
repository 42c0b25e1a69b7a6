"""Pages of the studies that this plane takes part in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.policy import is_allowed, require
from apps.ml.federation import exports, presenters, queries, services
from apps.ml.federation.certificates import compute_fingerprint
from apps.ml.federation.facts import SUBJECT
from apps.ml.federation.forms import FileForm
from apps.ml.federation.ledger_checks import check_ledger
from apps.ml.federation.models import SiteStudy
from apps.ml.federation.states import ENDED_SITE_STUDY, SiteStudyState
from apps.ml.federation.validation import get_named_version
from apps.ml.federation.views import REASON_LENGTH, notify
from apps.platform.accounts.projects import get_project_context
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.audit.queries import get_timeline

MAX_LEDGER_ROWS = 20
S = SiteStudyState


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def import_study(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/studies/import: an invitation, chosen or pasted."""
    actor, where = get_project_context(request, project)
    require(actor, "federation.import_study", where)
    form = FileForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        row = form.import_study(actor, where, request.FILES.get("file"))
        if row is not None:
            messages.success(request, _("The study %(name)s is imported. Nothing runs yet.") % {"name": row.name})
            return redirect("federation:site_study", project=where.slug, pk=row.pk)
    context = {"nav": "models", "form": form}
    return render(request, "federation/import.html", context, status=422 if form.errors or form.error else 200)


@require_safe
def show_site_study(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/studies/joined/<id>: what will run, what will leave, what is to be done, and what has left."""
    actor, where = get_project_context(request, project)
    row = queries.get_site_study(actor, where, pk)
    pending = find_pending_approval(actor, row)
    ledger = list(queries.list_site_ledger(actor, row).order_by("-id")[:MAX_LEDGER_ROWS])
    is_live = row.state == S.RUNNING
    shows_code = not is_live or "code" in request.GET  # a page that is read again and again goes without
    may_change = row.state in (S.IMPORTED, S.APPROVED, S.VOID)
    context: dict[str, Any] = {
        "nav": "models",
        "row": row,
        "colour": presenters.SITE_STUDY_COLOURS[S(row.state)],
        "next_step": presenters.describe_next_step(row, is_pending=pending is not None),
        "about": presenters.describe_study(row.document),
        "fingerprint": compute_fingerprint(row.authority_certificate),
        "code": presenters.list_code_files(queries.read_code(actor, row)) if shows_code else [],
        "pending": pending,
        "approval": row.approval,
        "ledger": presenters.list_ledger_rows(ledger),
        "check": check_ledger(row),
        "versions": queries.list_version_choices(actor, row.project) if may_change else [],
        "is_live": is_live,
        "may_bind": may_change and is_allowed(actor, "federation.bind_data", row),
        "may_request": row.state in (S.IMPORTED, S.VOID)
        and row.data_id is not None
        and pending is None
        and is_allowed(actor, "federation.request_approval", row),
        "may_export": is_allowed(actor, "federation.import_study", row),
        "may_certify": row.state not in ENDED_SITE_STUDY and is_allowed(actor, "federation.import_study", row),
        "may_join": row.state == S.APPROVED
        and bool(row.certificate)
        and is_allowed(actor, "federation.join_study", row),
        "may_leave": row.state not in ENDED_SITE_STUDY and is_allowed(actor, "federation.leave_study", row),
        "events": get_timeline(actor, "sitestudy", row.pk, limit=10),
    }
    return render(request, "federation/site_study.html", context)


def find_pending_approval(actor: Actor, row: SiteStudy) -> Approval | None:
    rows = Approval.objects.visible_to(actor).filter(project=row.project_id, state=ApprovalState.PENDING)
    return rows.filter(subject_type=SUBJECT, subject_id=str(row.pk)).first()


@require_POST
def bind_data(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reference = request.POST.get("data", "")

    def write(actor: Actor, row: SiteStudy) -> None:
        require(actor, "federation.bind_data", row)
        version = get_named_version(actor, row.project, reference)
        services.bind_data(actor=actor, site_study=row, version=version)

    return change(request, project, pk, write, _("The data is chosen."))


@require_POST
def request_approval(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    comment = request.POST.get("comment", "").strip()
    return change(
        request,
        project,
        pk,
        lambda actor, row: services.request_participation(actor=actor, site_study=row, comment=comment),
        _("The approvers of this site are asked."),
    )


@require_POST
def certify(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    form, upload = FileForm(request.POST), request.FILES.get("file")
    return change(
        request,
        project,
        pk,
        lambda actor, row: services.store_certificate(actor=actor, site_study=row, content=form.read(upload)),
        _("The certificate is imported."),
    )


@require_POST
def join(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    proxy = request.POST.get("proxy", "").strip()
    return change(
        request,
        project,
        pk,
        lambda actor, row: services.join_study(actor=actor, site_study=row, proxy=proxy),
        _("This site joins as soon as a worker is free."),
    )


@require_POST
def leave(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reason = request.POST.get("reason", "").strip()[:REASON_LENGTH]
    return change(
        request,
        project,
        pk,
        lambda actor, row: services.leave_study(actor=actor, site_study=row, reason=reason),
        _("This site has left the study."),
    )


def change(
    request: HttpRequest, project: str, pk: int, write: Callable[[Actor, SiteStudy], Any], done: str
) -> HttpResponseRedirect:
    """Back to the study of this site, with what was done or why it was not."""
    actor, where = get_project_context(request, project)
    row = queries.get_site_study(actor, where, pk)
    notify(request, lambda: write(actor, row), done)
    return redirect("federation:site_study", project=where.slug, pk=pk)


@require_safe
def download_request(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    actor, where = get_project_context(request, project)
    row = queries.get_site_study(actor, where, pk)
    return exports.build_download(exports.render_site_request(actor, row), f"study-{row.pk}-{row.site}-request.json")
