"""The list of approvals: what waits for me, what is pending, what was decided; its columns, and what narrows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_safe

from apps.core.actors import Actor, ProjectRole
from apps.core.lists.listing import (
    Column,
    Listing,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    mark_list_view,
    read_filter_values,
)
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.approvals import queries
from apps.platform.approvals.models import Approval, ApprovalQuerySet
from apps.platform.approvals.states import ApprovalState
from apps.platform.audit.list_export import export_list

MINE, PENDING, DECIDED = "mine", "pending", "decided"
STATES = {MINE: "", PENDING: ApprovalState.PENDING.value, DECIDED: queries.DECIDED}

APPROVALS = Listing(
    "approvals",
    (
        Column("what", gettext_lazy("What"), lambda row: row.title),
        Column("number", gettext_lazy("Number"), lambda row: row.pk, ("id",), numeric=True, down=True),
        Column("state", gettext_lazy("State"), lambda row: row.state, ("state", "-id")),
        Column("given", pgettext_lazy("count", "Approvals"), lambda row: row.given, numeric=True),
        Column("needed", gettext_lazy("Needed"), lambda row: row.needed, numeric=True, default_visible=False),
        Column("by", gettext_lazy("Requested by"), lambda row: row.requester, ("requester", "-id")),
        Column("asked", gettext_lazy("Requested"), lambda row: row.created_at, ("created_at", "id"), down=True),
        Column("expires", gettext_lazy("Expires"), lambda row: row.deadline_at, ("deadline_at", "id")),
        Column(
            "ended", gettext_lazy("Ended"), lambda row: row.decided_at, ("decided_at", "id"), down=True, sparse=True
        ),
        Column("comment", gettext_lazy("Comment"), lambda row: row.comment, default_visible=False),
    ),
    sort="-number",
)
NOT_ENDED = replace(
    APPROVALS,
    columns=tuple(
        replace(column, default_visible=False) if column.key == "ended" else column for column in APPROVALS.columns
    ),
)


@mark_list_view(APPROVALS.key)
@require_safe
def show_approvals(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/approvals: what waits for me, what is pending, what was decided; newest first."""
    actor, where = get_project_context(request, project)
    votes = ProjectRole.APPROVER in actor.get_roles_in(where.pk)
    choice = request.GET.get("show", "")
    show = choice if choice in STATES else MINE if votes else PENDING
    narrow = read_filter_values(request.GET, ("title", "requester"))
    table = build_table(
        APPROVALS if show == DECIDED else NOT_ENDED,
        request.GET,
        lambda: query_approvals(actor, where, request.GET, show, narrow),
        filters=[
            {"name": "title", "label": _("What"), "value": narrow["title"]},
            {"name": "requester", "label": _("Requested by"), "value": narrow["requester"]},
            *build_day_filters(request.GET, "asked", _("Asked from"), _("Asked until")),
        ],
        builtin=list_builtin_views(actor, votes),
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    pending = Approval.objects.visible_to(actor).filter(project=where, state=ApprovalState.PENDING)
    context = {
        **table.build_context(),
        "nav": "approvals",
        "show": show,
        "mine": queries.query_waiting_for(actor).filter(project=where).count(),
        "pending": pending.count(),
        "votes": votes,
        "may_request": is_allowed(actor, "approval.request", where),
    }
    return render(request, "approvals/list.html", context, status=table.status)


def query_approvals(
    actor: Actor, project: Project, params: QueryDict, show: str, filters: dict[str, str]
) -> ApprovalQuerySet:
    rows = queries.list_approvals(actor, project, state=STATES[show], mine=show == MINE)
    if filters["title"]:
        rows = rows.filter(title__icontains=filters["title"])
    if filters["requester"]:
        rows = rows.filter(requester=filters["requester"])
    filtered: ApprovalQuerySet = filter_between_days(rows, "created_at", params, "asked")
    return filtered


def list_builtin_views(actor: Actor, votes: bool) -> list[dict[str, Any]]:
    waiting = [build_builtin_view(_("Waits for you"), show=MINE)] if votes else []
    return [
        *waiting,
        build_builtin_view(_("Pending, the first to expire"), show=PENDING, sort="expires"),
        build_builtin_view(_("Decided in 7 days"), show=DECIDED, sort="-ended", asked_after="7d"),
        build_builtin_view(_("Asked by me"), show=DECIDED, requester=actor.label),
    ]
