"""Pages of compliance: what is met and what is not, one clause, the runs; and the downloads."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import date
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.core.request_values import validate_choice
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.models import Holding
from apps.platform.audit.list_export import export_list
from apps.site.compliance import presenters, queries, services
from apps.site.compliance.lists import RUNS, build_runs_table
from apps.site.compliance.models import Attachment, EvidenceRun
from apps.site.compliance.states import OPEN_STATES, Verdict


@require_safe
def show_overview(request: HttpRequest) -> HttpResponse:
    """/compliance: every clause as the newest run found it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return render_run(request, actor, queries.get_newest_run(actor), is_newest=True)


@require_safe
def show_run(request: HttpRequest, pk: int) -> HttpResponse:
    """/compliance/runs/<number>: the same of an earlier run."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return render_run(request, actor, queries.get_run(actor, pk), is_newest=False)


def render_run(request: HttpRequest, actor: Actor, run: EvidenceRun | None, *, is_newest: bool) -> HttpResponse:
    statuses = queries.list_clause_statuses(actor, run)
    verdict = request.GET.get("verdict", "")[:20]
    with contextlib.suppress(Invalid):
        validate_choice("verdict", verdict, Verdict.values)
    rows = [presenters.build_clause_row(status) for status in statuses if verdict in ("", status.verdict)]
    gaps = [status for status in statuses if status.is_gap]
    counts = Counter(status.verdict for status in statuses)
    open_run = queries.get_open_run(actor) if is_newest else None
    context: dict[str, Any] = {
        "nav": "audit",
        "run": run,
        "is_newest": is_newest,
        "is_open": run is not None and run.state in OPEN_STATES,
        "open_run": open_run,
        "groups": presenters.group_by_control(rows),
        "clauses": len(statuses),
        "counts": [
            (value, presenters.describe_verdict(value), presenters.LAMPS[Verdict(value)], counts[value])
            for value in Verdict.values
        ],
        "met": counts[Verdict.MET],
        "gaps": len(gaps),
        "unowned": sum(1 for status in gaps if status.gap is None),
        "overdue": sum(1 for status in gaps if status.is_overdue),
        "verdict": verdict,
        "trend": build_trend(actor) if is_newest else [],
        "is_scheduled": queries.has_schedule(actor),
        "may_start": is_allowed(actor, "compliance.request_run"),
        "may_export": is_allowed(actor, "compliance.export"),
        "may_schedule": is_allowed(actor, "schedule.manage_plane"),
    }
    return render(request, "compliance/overview.html", context)


def build_trend(actor: Actor) -> list[dict[str, Any]]:
    """How many clauses each of the newest runs found met, for the table beside the figures."""
    runs = queries.list_trend(actor)
    rows, before = [], None
    for run in runs:
        rows.append({"run": run, "change": None if before is None else run.met - before})
        before = run.met
    return rows[::-1][:8]


@mark_list_view(RUNS.key)
@require_safe
def show_runs(request: HttpRequest) -> HttpResponseBase:
    """/compliance/runs: every run."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_runs_table(actor, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    return render(request, "compliance/runs.html", {**table.build_context(), "nav": "audit"}, status=table.status)


@require_POST
def start_run(request: HttpRequest) -> HttpResponse:
    """Queue a run and go back to the overview."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        services.request_run(actor=actor)
    except Conflict as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("The evidence run is queued; it takes about half a minute."))
    return redirect("compliance:overview")


# -- one clause -------------------------------------------------------------------------------------------------------
@require_safe
def show_clause(request: HttpRequest, name: str) -> HttpResponse:
    """/compliance/clauses/<id>: its attempts, documents, gap and history."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return render_clause(request, actor, name)


def render_clause(
    request: HttpRequest,
    actor: Actor,
    name: str,
    *,
    sent: dict[str, str] | None = None,
    faults: dict[str, str] | None = None,
    form: str = "",
    status: int = 200,
) -> HttpResponse:
    run = queries.get_newest_run(actor)
    clause = queries.get_clause(name)
    state = next((each for each in queries.list_clause_statuses(actor, run) if each.clause == clause), None)
    gap = queries.get_gap(actor, clause)
    gap_values = {"owner": gap.owner, "due_on": str(gap.due_on), "note": gap.note} if gap else {}
    context: dict[str, Any] = {
        "nav": "audit",
        "clause": clause,
        "run": run,
        "row": presenters.build_clause_row(state) if state else None,
        "outcomes": presenters.build_outcomes(clause.probes, run.probes) if run else [],
        "documents": list(queries.list_documents(actor, clause)),
        "history": [
            (row, presenters.LAMPS[Verdict(row.verdict)], presenters.describe_verdict(row.verdict))
            for row in queries.list_history(actor, clause)
        ],
        "gap": gap,
        "today": timezone.localdate(),
        "gap_fields": presenters.build_gap_fields(
            (sent or {}) if form == "gap" else gap_values, (faults or {}) if form == "gap" else {}
        )
        if is_allowed(actor, "compliance.set_gap")
        else [],
        "document_fields": presenters.build_document_fields(
            (sent or {}) if form == "document" else {}, (faults or {}) if form == "document" else {}
        )
        if clause.document is not None and is_allowed(actor, "compliance.attach")
        else [],
        "file_error": (faults or {}).get("file", "") if form == "document" else "",
        "may_withdraw": is_allowed(actor, "compliance.withdraw"),
        "may_export": is_allowed(actor, "compliance.export"),
    }
    return render(request, "compliance/clause.html", context, status=status)


@require_POST
def set_gap(request: HttpRequest, name: str) -> HttpResponse:
    """Name who closes the gap, and until when."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "compliance.set_gap")
    clause = queries.get_clause(name)
    sent = {each: request.POST.get(each, "")[:1000] for each in ("owner", "due_on", "note")}
    try:
        services.set_gap(
            actor=actor, clause=clause.id, owner=sent["owner"], due_on=read_day(sent["due_on"]), note=sent["note"]
        )
    except Invalid as error:
        return render_clause(request, actor, name, sent=sent, faults=collect_faults(error), form="gap", status=422)
    messages.success(request, _("The gap has an owner and a day."))
    return redirect("compliance:clause", clause.id)


@require_POST
def attach(request: HttpRequest, name: str) -> HttpResponse:
    """Attach a document to the clause."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "compliance.attach")
    clause = queries.get_clause(name)
    sent = {each: request.POST.get(each, "")[:1000] for each in ("title", "owner", "dated_on", "expires_on")}
    upload = request.FILES.get("file")
    try:
        services.attach_document(
            actor=actor,
            clause=clause.id,
            title=sent["title"],
            owner=sent["owner"],
            dated_on=read_day(sent["dated_on"]),
            expires_on=read_day(sent["expires_on"]),
            file_name=str(upload.name or "") if upload else "",
            content=upload.chunks() if upload else (),
        )
    except Invalid as error:
        faults = collect_faults(error)
        return render_clause(request, actor, name, sent=sent, faults=faults, form="document", status=422)
    messages.success(request, _("The document is attached; the next run counts it."))
    return redirect("compliance:clause", clause.id)


@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a document count no more."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "compliance.withdraw")
    row = queries.get_document(actor, pk)
    try:
        services.withdraw_document(actor=actor, attachment=row, reason=request.POST.get("reason", "")[:2000])
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("The document is withdrawn; the next run does not count it."))
    return redirect("compliance:clause", row.clause)


def read_day(text: str) -> date | None:
    """The day that was typed, or None for what is none."""
    try:
        return parse_date(text.strip())
    except ValueError:
        return None


def collect_faults(error: Invalid) -> dict[str, str]:
    """The faults by field of the form."""
    faults: dict[str, str] = {}
    for row in error.errors:
        faults.setdefault(str(row.get("field") or ""), row["message"])
    return faults


# -- downloads --------------------------------------------------------------------------------------------------------
@require_safe
def download_folder(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The signed folder of a run, as a zip."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "compliance.export")
    return download(request, build_folder_holding(actor, queries.get_run(actor, pk)))


@require_safe
def download_document(request: HttpRequest, pk: int) -> HttpResponseBase:
    """An attached document."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "compliance.export")
    return download(request, build_document_holding(actor, queries.get_document(actor, pk)))


def build_folder_holding(actor: Actor, run: EvidenceRun) -> Holding:
    """What the download sends of a run; no project holds it, so it has no row."""
    artifact = services.open_folder(actor=actor, run=run)
    return Holding(artifact=artifact, name=f"evidence-{run.pk}.zip", media_type="application/zip")


def build_document_holding(actor: Actor, row: Attachment) -> Holding:
    """Likewise of a document."""
    services.open_document(actor=actor, attachment=row)
    return Holding(artifact=row.artifact, name=row.file_name, media_type="application/octet-stream")
