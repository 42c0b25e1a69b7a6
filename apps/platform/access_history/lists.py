"""The list of accounts with what they had on a day: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.lists.listing import (
    Column,
    Listing,
    ListTable,
    build_builtin_view,
    build_table,
    is_date_like,
    read_filter_values,
)
from apps.platform.access_history import presenters
from apps.platform.access_history.queries import (
    FILTERS,
    HUMAN_ACTIONS,
    KINDS,
    NAMES,
    PERSON,
    SERVICE_ACCOUNT,
    HolderAnswer,
    Question,
    build_answers,
    parse_question,
    search_accounts,
)
from apps.platform.access_history.standings import Standing

KEY = "access-history"


def merge(describe: Callable[[HolderAnswer, Standing], str]) -> Callable[[HolderAnswer], str]:
    return lambda answer: presenters.merge_cell(answer, describe)


def build_listing(kind: str) -> Listing:
    """The list of people or of service accounts, which are called by another field."""
    return Listing(
        KEY,
        (
            Column("holder", gettext_lazy("Holder"), lambda row: row.history.holder, (NAMES[kind], "id")),
            Column("access", gettext_lazy("Account"), merge(presenters.describe_access)),
            Column("system_role", gettext_lazy("System role"), merge(presenters.describe_system_role)),
            Column("roles", gettext_lazy("Roles in projects"), merge(presenters.describe_roles)),
            Column("tokens", gettext_lazy("API tokens"), merge(presenters.describe_tokens)),
            Column("emergency", gettext_lazy("Emergency access"), merge(presenters.describe_emergency)),
            Column("clearance", gettext_lazy("Clearance"), merge(presenters.describe_clearance)),
            Column("unproven", gettext_lazy("Not proven by records"), presenters.describe_proof),
            Column("number", gettext_lazy("Number"), lambda row: row.pk, ("id",), default_visible=False),
        ),
        sort="holder",
    )


LISTINGS = {kind: build_listing(kind) for kind in KINDS}


def build_history_table(
    actor: Actor, params: QueryDict, project_slugs: Iterable[str]
) -> tuple[ListTable, Question | None]:
    """The page of the list, and the question that it answers; None where the query is wrong."""
    values = read_filter_values(params, FILTERS)
    question: Question | None = None
    try:
        question = parse_question(actor, params)
    except Invalid as error:
        wrong = error

    def list_rows() -> Any:
        if question is None:
            raise wrong
        return search_accounts(actor, question)

    table = build_table(
        LISTINGS[question.kind if question is not None else PERSON],
        params,
        list_rows,
        filters=build_filters(values, project_slugs),
        builtin=[
            build_builtin_view(_("Yesterday"), on="2d"),
            build_builtin_view(_("Who could approve"), action="approval.decide"),
        ],
        transform_rows=lambda rows: build_answers(list(rows), question) if question is not None else [],
    )
    return table, question


def build_filters(values: dict[str, str], project_slugs: Iterable[str]) -> list[dict[str, Any]]:
    kinds = [("", _("People")), (SERVICE_ACCOUNT, _("Service accounts"))]
    day = values["on"]
    return [
        {"name": "on", "label": _("Day"), "value": day, "type": "date" if is_date_like(day) else "text"},
        {"name": "time", "label": _("Time"), "value": values["time"], "type": "text", "placeholder": "09:30"},
        {
            "name": "kind",
            "label": _("Kind"),
            "value": values["kind"] if values["kind"] != PERSON else "",
            "choices": kinds,
        },
        {
            "name": "project",
            "label": _("Project"),
            "value": values["project"],
            "choices": [("", _("Every project")), *((slug, slug) for slug in project_slugs)],
        },
        {
            "name": "action",
            "label": _("Allowed action"),
            "value": values["action"],
            "choices": [("", _("Every action")), *((action, action) for action in HUMAN_ACTIONS)],
        },
        {"name": "q", "label": _("Holder"), "value": values["q"]},
    ]
