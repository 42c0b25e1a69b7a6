"""Pages of the trail: is the chain whole, who did what, take it away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.actors import Actor
from apps.audit.api import export_response
from apps.audit.asking import filters_asked, projects_of
from apps.audit.filters import Filters
from apps.audit.models import Result
from apps.audit.reads import chain_state, event_of, read_records, tally
from apps.audit.verification import verify_trail
from apps.audit.verifier import verify as verifier
from apps.errors import Invalid
from apps.pages import page_asked
from apps.policy import allows, require


@require_safe
def trail(request: HttpRequest) -> HttpResponse:
    """/audit: the whole trail, filtered by the query."""
    return drawn(request, {}, "audit/trail.html")


@require_safe
def object_trail(request: HttpRequest, object_type: str, object_id: str) -> HttpResponse:
    """/audit/object/<type>/<id>: everything about one object."""
    return drawn(request, {"object_type": object_type, "object_id": object_id}, "audit/trail.html")


def drawn(request: HttpRequest, about: dict[str, str], template: str) -> HttpResponse:
    """The page, or with HTTP 422 the page with what is wrong in its query and no records."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    wrong: Invalid | None = None
    try:
        filters = filters_asked(actor, {**request.GET.dict(), **about})
    except Invalid as error:
        wrong, filters = error, Filters()
    records = read_records(actor, filters)
    if wrong is not None:
        records = records.none()
    page = page_asked(records, request.GET)
    everything = allows(actor, "audit.view")
    context: dict[str, Any] = {
        "nav": "audit",
        "about": about,
        "wrong": wrong,
        "filters": filter_bar(request, projects_of(actor), about),
        "active": any(request.GET.get(name) for name in ("actor", "action", "result", "project", "from", "to")),
        "events": [event_of(row) for row in page.items],
        "page": page,
        "tally": tally(records),
        "chain": chain_state(actor) if everything else None,
        "may_verify": allows(actor, "audit.verify"),
        "may_export": allows(actor, "audit.export"),
    }
    return render(request, template, context, status=wrong.status if wrong else 200)


def filter_bar(request: HttpRequest, projects: dict[str, int], about: dict[str, str]) -> list[dict[str, Any]]:
    """The filters as components/filter_bar.html draws them; an object's page needs no object."""
    ask = request.GET.get
    results = [("", _("Every result")), *((value, _(value)) for value in Result.values)]
    bar: list[dict[str, Any]] = [
        {"name": "actor", "label": _("Who"), "value": ask("actor", "")},
        {"name": "action", "label": _("Action"), "value": ask("action", ""), "placeholder": "job.submit, user."},
        {"name": "result", "label": _("Result"), "value": ask("result", ""), "choices": results},
        {"name": "from", "label": _("From"), "value": ask("from", ""), "type": "date"},
        {"name": "to", "label": _("To"), "value": ask("to", ""), "type": "date"},
    ]
    if projects:
        choices = [("", _("Every project")), *((slug, slug) for slug in projects)]
        bar.insert(2, {"name": "project", "label": _("Project"), "value": ask("project", ""), "choices": choices})
    return bar


@require_POST
def verify(request: HttpRequest) -> HttpResponseRedirect:
    """Walk the chain and say what came of it."""
    found = verify_trail(actor=request.actor)  # type: ignore[attr-defined]
    if found.finding is not None:
        messages.error(request, _("The chain is broken: %(what)s") % {"what": found.finding})
    else:
        told = {"records": found.sealed, "seconds": f"{found.seconds:.1f}"}
        messages.success(request, _("Verified %(records)s records in %(seconds)s s: the chain is whole.") % told)
    return redirect("audit:list")


@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    """The export as one file; a POST, because it writes a record with the reason that was given."""
    return export_response(request.actor, request.POST)  # type: ignore[attr-defined]


@require_safe
def verifier_file(request: HttpRequest) -> FileResponse:
    """verify.py, to check an export with. Better still: from a copy that was kept before."""
    require(request.actor, "audit.export")  # type: ignore[attr-defined]
    return FileResponse(Path(verifier.__file__).open("rb"), as_attachment=True, filename="verify.py")
