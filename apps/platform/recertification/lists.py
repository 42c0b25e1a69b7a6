"""The lists of campaigns and of the grants of one: their columns, and what narrows them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.platform.recertification.models import Campaign, Decision, GrantKind, GrantReview, GrantReviewQuerySet
from apps.platform.recertification.queries import list_campaigns, list_reviews

CAMPAIGNS = Listing(
    "recertifications",
    (
        Column("name", gettext_lazy("Campaign"), lambda row: row.name),
        Column("started", gettext_lazy("Started"), lambda row: row.started_at, ("id",), down=True),
        Column("due", gettext_lazy("Due"), lambda row: row.due_at),
        Column("closed", gettext_lazy("Closed"), lambda row: row.closed_at),
        Column("by", gettext_lazy("Started by"), lambda row: row.started_by),
    ),
    sort="-started",
)
REVIEWS = Listing(
    "grant-reviews",
    (
        Column("holder", gettext_lazy("Holder"), lambda row: row.holder, ("holder", "id")),
        Column("kind", gettext_lazy("Kind"), lambda row: row.kind),
        Column("project", gettext_lazy("Project"), lambda row: row.project.slug if row.project else ""),
        Column("grant", gettext_lazy("Grant"), lambda row: row.description),
        Column("decision", gettext_lazy("Decision"), lambda row: row.decision),
        Column("decided", gettext_lazy("Decided by"), lambda row: row.decided_by),
        Column("at", gettext_lazy("Decided at"), lambda row: row.decided_at, default_visible=False),
        Column("reason", gettext_lazy("Reason"), lambda row: row.reason, default_visible=False),
        Column("number", gettext_lazy("Number"), lambda row: row.pk, ("id",), default_visible=False),
    ),
    sort="holder",
)
FILTERS = ("decision", "kind", "project", "q")
DECISION_STATES = {"pending": "queued", "confirmed": "succeeded", "revoked": "cancelled", "suspended": "held"}


def build_campaigns_table(actor: Actor, params: QueryDict) -> ListTable:
    """Campaigns, the newest first."""
    return build_table(CAMPAIGNS, params, lambda: list_campaigns(actor), filters=[])


def build_reviews_table(actor: Actor, campaign: Campaign, params: QueryDict) -> ListTable:
    """The grants of a campaign, by holder."""
    values = read_filter_values(params, FILTERS)
    decisions = [("", _("Every decision")), *((value, str(label)) for value, label in Decision.choices)]
    kinds = [("", _("Every kind")), *((value, str(label)) for value, label in GrantKind.choices)]
    return build_table(
        REVIEWS,
        params,
        lambda: filter_reviews(list_reviews(actor, campaign), values),
        filters=[
            {"name": "decision", "label": _("Decision"), "value": values["decision"], "choices": decisions},
            {"name": "kind", "label": _("Kind"), "value": values["kind"], "choices": kinds},
            {"name": "project", "label": _("Project"), "value": values["project"]},
            {"name": "q", "label": _("Holder or grant"), "value": values["q"]},
        ],
        builtin=[
            build_builtin_view(pgettext("grant", "Open"), decision="pending"),
            build_builtin_view(_("Revoked"), decision="revoked"),
            build_builtin_view(_("Suspended"), decision="suspended"),
        ],
        transform_rows=add_states,
    )


def filter_reviews(rows: GrantReviewQuerySet, values: dict[str, str]) -> GrantReviewQuerySet:
    """Those that fit the filters; Invalid for a decision or kind that there is not."""
    validate_choice("decision", values["decision"], Decision.values)
    validate_choice("kind", values["kind"], GrantKind.values)
    exact = {"decision": values["decision"], "kind": values["kind"], "project__slug": values["project"]}
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    text = values["q"]
    return rows.filter(Q(holder__icontains=text) | Q(description__icontains=text)) if text else rows


def add_states(reviews: Any) -> Any:
    rows: list[GrantReview] = list(reviews)
    for row in rows:
        row.state = DECISION_STATES[row.decision]  # type: ignore[attr-defined]
    return rows
