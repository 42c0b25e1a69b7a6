"""The list of probe reports: its columns, and what narrows it."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.site.isolation.models import ProbeReport
from apps.site.isolation.presenters import STATES, describe_result, describe_status
from apps.site.isolation.queries import list_reports
from apps.site.isolation.serializers import VERDICTS

REPORTS = Listing(
    "probe-reports",
    (
        Column("node", gettext_lazy("Node"), lambda row: row.node.name),
        Column("verdict", gettext_lazy("Verdict"), lambda row: row.verdict),
        Column("results", gettext_lazy("Attempts"), lambda row: "; ".join(map(describe_result, row.results))),
        Column("at", gettext_lazy("Received"), lambda row: row.at, ("id",), down=True),
    ),
    sort="-at",
)


def build_reports_table(actor: Actor, params: QueryDict, node_name: str = "") -> ListTable:
    """Reports, the newest first."""
    verdict = read_filter_values(params, ("verdict",))["verdict"]
    choices = [("", _("Every verdict")), *((name, describe_status(name)) for name in VERDICTS)]

    def query() -> Any:
        validate_choice("verdict", verdict, VERDICTS)
        reports = list_reports(actor, node_name)
        return reports.filter(verdict=verdict) if verdict else reports

    return build_table(
        REPORTS,
        params,
        query,
        filters=[{"name": "verdict", "label": _("Verdict"), "value": verdict, "choices": choices}],
        transform_rows=add_texts,
    )


def add_texts(reports: Any) -> Any:
    """Put beside each report its verdict and its attempts in words."""
    rows: list[ProbeReport] = list(reports)
    for row in rows:
        row.label, row.state = describe_status(row.verdict), STATES[row.verdict]  # type: ignore[attr-defined]
        row.attempts = [(result, describe_result(result)) for result in row.results]  # type: ignore[attr-defined]
    return rows
