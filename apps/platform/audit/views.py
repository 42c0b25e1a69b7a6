"""Pages of the trail: who did what, is the chain whole, take it away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError
from apps.core.lists.listing import mark_list_view
from apps.core.lists.pages import paginate
from apps.core.policy import is_allowed, require
from apps.platform.audit import presenters, queries, query
from apps.platform.audit.api import export_response
from apps.platform.audit.checkpoints import list_newest_checkpoints
from apps.platform.audit.filters import Filters
from apps.platform.audit.list_export import export_list
from apps.platform.audit.lists import TRAIL, build_trail_table
from apps.platform.audit.object_links import ObjectLinks
from apps.platform.audit.trail_export import take_anchor
from apps.platform.audit.verification_runs import request_verification
from apps.platform.audit.verifier import verify as verifier

CHECKPOINTS_SHOWN = 10


# -- records --------------------------------------------------------------------------------------------------------
@mark_list_view(TRAIL.key)
@require_safe
def trail(request: HttpRequest) -> HttpResponseBase:
    """/audit: the whole trail, filtered by the query."""
    return drawn(request, {}, "audit/trail.html")


@require_safe
def object_trail(request: HttpRequest, object_type: str, object_id: str) -> HttpResponseBase:
    """/audit/object/<type>/<id>: everything about one object."""
    return drawn(request, {"object_type": object_type, "object_id": object_id}, "audit/object.html")


def drawn(request: HttpRequest, about: dict[str, str], template: str) -> HttpResponseBase:
    """The page, or with HTTP 422 the page with what is wrong in its query and no records."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    projects = query.list_readable_projects(actor)
    wrong: PlaneError | None = None
    mode = presenters.SENTENCES_MODE
    try:
        mode = presenters.parse_mode(request.GET)
        filters = query.parse_filters(actor, {**request.GET.dict(), **about}, projects)
    except Invalid as error:
        wrong, filters = error, Filters()
    records = queries.read_records(actor, filters)
    if wrong is not None:
        records = records.none()
    table = build_trail_table(actor, request.GET, records, queries.get_order(filters), wrong)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    if wrong is None and table.wrong is not None:
        wrong, records = table.wrong, records.none()
    page = paginate(records, request.GET, order=queries.get_order(filters))
    events = queries.build_named_events(page.items)
    slugs = {pk: slug for slug, pk in projects.items()}
    links = ObjectLinks(actor, slugs)
    context: dict[str, Any] = {
        **frame(actor, "records"),
        "about": about,
        "mode": mode,
        "wrong": wrong,
        **presenters.build_filter_bar(request.GET, projects, about),
        "events": events,
        "page": page,
        "table": table,
        "slugs": slugs,
        "links": links,
        "rest_url": presenters.build_rest_url(request.GET, about),
        "tally": queries.count_results(records),
    }
    if about:
        context |= of_object(actor, about, records, events, links)
    elif context["chain"]:
        context["today"] = queries.get_today(actor)
    return render(request, template, context, status=wrong.status if wrong else 200)


def of_object(
    actor: Actor, about: dict[str, str], records: Any, events: list[queries.Event], links: ObjectLinks
) -> dict[str, Any]:
    """What only the page of one object shows: its own page, who acted on it, what was touched together with it."""
    project = next((event.row.project_id for event in events if event.row.project_id), None)
    return {
        "object_url": links.get_url(about["object_type"], about["object_id"], project),
        "people": queries.count_by_actor(records),
        "touched": [
            {**row, "url": links.get_url(row["object_type"], row["object_id"], row["project_id"])}
            for row in queries.list_touched_objects(actor, events)
        ],
        "span": queries.get_record_span(records),
    }


def frame(actor: Actor, tab: str) -> dict[str, Any]:
    """What the head of every page of the trail needs."""
    return {
        "nav": "audit",
        "tab": tab,
        "chain": queries.get_chain_state(actor) if is_allowed(actor, "audit.view") else None,
        "may_verify": is_allowed(actor, "audit.verify"),
        "may_export": is_allowed(actor, "audit.export"),
        "may_see_alarms": is_allowed(actor, "security_alarm.view"),
    }


# -- the chain ------------------------------------------------------------------------------------------------------
@require_safe
def chain(request: HttpRequest) -> HttpResponse:
    """/audit/chain: where it stands, who verified it when and what came of it, and the anchors outside the database."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    require(actor, "audit.view")
    context = {
        **frame(actor, "chain"),
        "verifications": queries.list_verifications(),
        "checkpoints": list_newest_checkpoints(CHECKPOINTS_SHOWN),
        "commands": presenters.OFFLINE,
    }
    return render(request, "audit/chain.html", context)


@require_safe
def progress(request: HttpRequest) -> HttpResponse:
    """The part of that page that renews itself while a walk is under way; at its end the page is loaded anew."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    state = queries.get_chain_state(actor)
    answer = render(request, "audit/progress.html", {"chain": state})
    if state.run is None or state.run.ended_at is not None:
        answer["HX-Refresh"] = "true"
    return answer


@require_POST
def verify(request: HttpRequest) -> HttpResponseRedirect:
    """Verify what is new, queue a walk of all, and say so on the page that shows how far it is."""
    _run, recent = request_verification(actor=request.actor)  # type: ignore[attr-defined]
    if recent is not None and recent.finding is not None:
        messages.error(request, _("The chain is broken: %(what)s") % {"what": recent.finding})
    else:
        messages.success(request, _("A walk of the whole trail is queued. It goes on if you leave this page."))
    return redirect("audit:chain")


# -- to take away ---------------------------------------------------------------------------------------------------
@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    """The export as one file; a POST, because it writes a record with the reason that was given."""
    return export_response(request.actor, request.POST)  # type: ignore[attr-defined]


@require_safe
def verifier_file(request: HttpRequest) -> FileResponse:
    """verify.py, to check an export with. Better still: from a copy that was kept before."""
    require(request.actor, "audit.export")  # type: ignore[attr-defined]
    return FileResponse(Path(verifier.__file__).open("rb"), as_attachment=True, filename="verify.py")


@require_safe
def anchor(request: HttpRequest, name: str) -> FileResponse:
    """The public key, or the checkpoints: what an export is checked against, if it was kept elsewhere."""
    path = take_anchor(actor=request.actor, name=name)  # type: ignore[attr-defined]
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name)
