"""The trail as a list: what a CSV file of it says, and the views that it brings along. The signed export is another."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError
from apps.core.lists.listing import (
    Column,
    Listing,
    ListQuery,
    ListTable,
    build_builtin_view,
    parse_columns,
    parse_format,
)
from apps.platform.audit.models import AuditQuerySet, AuditRecord, Result
from apps.platform.audit.queries import build_event


def get_body_field(name: str) -> Any:
    return lambda row: build_event(row).body.get(name)


TRAIL = Listing(
    "audit",
    (
        Column("seq", gettext_lazy("Record"), lambda row: row.seq),
        Column("at", gettext_lazy("When"), lambda row: row.at, ("id",), down=True),
        Column("actor", gettext_lazy("Who"), lambda row: row.actor),
        Column("action", gettext_lazy("Action"), lambda row: row.action),
        Column("object_type", gettext_lazy("Kind of object"), lambda row: row.object_type),
        Column("object_id", gettext_lazy("Its id"), lambda row: row.object_id),
        Column("project", gettext_lazy("Project"), lambda row: row.project_id),
        Column("result", gettext_lazy("Result"), lambda row: row.result),
        Column("reason", gettext_lazy("Reason"), get_body_field("reason")),
        Column("address", gettext_lazy("Address"), get_body_field("address")),
        Column("request", gettext_lazy("Request"), lambda row: row.request_id),
        Column("job", gettext_lazy("Job"), lambda row: row.job_id),
        Column("hash", gettext_lazy("Hash"), lambda row: row.hash, default_visible=False),
    ),
    sort="-at",
)


def build_trail_table(
    actor: Actor, params: QueryDict, records: AuditQuerySet, order: tuple[str, ...], wrong: PlaneError | None
) -> ListTable:
    """What the menu of views and the file need of the trail; its page draws a timeline and turns by itself."""
    columns, csv = TRAIL.columns, False
    try:
        csv = parse_format(params)
        columns = parse_columns(TRAIL, params)
    except Invalid as error:
        wrong = wrong or error
    query = ListQuery(columns, TRAIL.sort, order, csv=csv)
    # What reading this very list writes is no row of it: a file would never come to its end.
    newest = AuditRecord.objects.order_by("-id").values_list("id", flat=True).first() if csv else None
    source = records.filter(id__lte=newest) if newest is not None else records
    return ListTable(TRAIL, query, params, source, builtin=list_builtin_views(actor), wrong=wrong)


def list_builtin_views(actor: Actor) -> list[dict[str, Any]]:
    return [
        build_builtin_view(_("Refused"), result=Result.REFUSED.value),
        build_builtin_view(_("Failed log-ins"), action="user.log_in", result=Result.FAILED.value),
        build_builtin_view(_("Decisions on approvals"), action="approval."),
        build_builtin_view(_("List exports"), action="list.export"),
        build_builtin_view(_("Mine"), actor=actor.label),
    ]
