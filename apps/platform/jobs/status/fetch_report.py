"""The fetch report of a collection, drawn: every page that was asked for, what came of it, what was refused and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, read_filter_values
from apps.core.lists.memory_lists import build_table_in_memory
from apps.core.request_values import validate_choice
from apps.platform.accounts.projects import get_project_context
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import require_undamaged
from apps.platform.artifacts.verification import read_verified
from apps.platform.audit.list_export import export_list
from apps.platform.jobs import queries
from apps.platform.jobs.models import Job
from apps.platform.jobs.views import build_job_context
from deepseek.messages import N_

REPORT_TYPE = "application/vnd.plane.fetch-report+json"
MAX_REPORT_BYTES = 16 * 1024 * 1024  # bytes of a report that is drawn; the engine tells of 10,000 pages
MAX_HOSTS = 50
FETCHED, NOT_FETCHED, REFUSED = "fetched", "missing", "refused"
RESULTS = {FETCHED: gettext_lazy("Fetched"), NOT_FETCHED: gettext_lazy("Not fetched"), REFUSED: gettext_lazy("Refused")}
FORBIDDEN = ("refused", "robots")  # by the list of hosts, by robots.txt


@dataclass(frozen=True, slots=True)
class Fetch:
    """One page that was asked for; `why` is the report's word for what went wrong, "" for nothing."""

    page: int
    url: str
    status: int | None
    bytes: int | None
    at: datetime | None
    why: str
    message: str

    @property
    def result(self) -> str:
        if not self.why:
            return FETCHED
        return REFUSED if self.why in FORBIDDEN else NOT_FETCHED


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a report tells. `digest`: of its bytes, "" for no report; `listed`: whether it tells of single pages."""

    digest: str = ""
    rows: list[Fetch] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    listed: bool = True
    too_large: bool = False


def build_column(key: str, label: Any, **more: Any) -> Column:
    return Column(key, label, lambda row: getattr(row, key), (key,), **more)


FETCHES = Listing(
    "fetches",
    (
        build_column("page", gettext_lazy("Page"), numeric=True),
        build_column("url", gettext_lazy("Address")),
        build_column("result", gettext_lazy("Result")),
        build_column("status", gettext_lazy("Status"), numeric=True),
        build_column("bytes", gettext_lazy("Size"), numeric=True, down=True),
        build_column("at", gettext_lazy("When"), down=True),
        build_column("why", gettext_lazy("Why not")),
        Column("message", gettext_lazy("Message"), lambda one: one.message or None, default_visible=False),
    ),
    sort="page",
)


# -- reading the report ---------------------------------------------------------------------------------------------
def load_fetch_report(job: Job) -> FetchReport:
    """What the fetch report of a job tells; nothing for a job without one. Raises Damaged where its bytes are gone."""
    output = next((output for output in job.outputs.all() if output.media_type == REPORT_TYPE), None)
    if output is None:
        return FetchReport()
    artifact: Artifact = require_undamaged(output.artifact)
    if artifact.size > MAX_REPORT_BYTES:
        return FetchReport(artifact.digest, too_large=True)
    report = json.loads(read_verified(artifact))
    rows, hosts = report.get("fetches"), report.get("refused") or []
    return FetchReport(
        digest=artifact.digest,
        rows=[parse_fetch(row) for row in rows or []],
        hosts=sorted(hosts, key=lambda host: -host["count"])[:MAX_HOSTS],
        left_out=report.get("fetches_left_out") or 0,
        listed=rows is not None,  # since v2
    )


def parse_fetch(row: dict[str, Any]) -> Fetch:
    return Fetch(
        page=row["page"],
        url=row["url"],
        status=row["status"],
        bytes=row["bytes"],
        at=parse_datetime(row["at"]),
        why=row["why"],
        message=row["message"],
    )


# -- the list -------------------------------------------------------------------------------------------------------
def filter_fetches(rows: list[Fetch], filters: dict[str, str]) -> list[Fetch]:
    """The pages that fit the filters; Invalid for a result that there is not."""
    result, part = filters["result"], filters["q"].casefold()
    validate_choice("result", result, RESULTS, N_("There is no result {found!r}."))
    return [
        fetch
        for fetch in rows
        if (not result or fetch.result == result)
        and (not part or part in f"{fetch.url} {fetch.why} {fetch.message}".casefold())
    ]


def build_fetches_table(rows: list[Fetch], params: QueryDict) -> ListTable:
    filters = read_filter_values(params, ("q", "result"))
    return build_table_in_memory(
        FETCHES,
        params,
        lambda: filter_fetches(rows, filters),
        key=get_fetch_key,
        filters=[
            {"name": "q", "label": _("Address or reason"), "value": filters["q"]},
            {
                "name": "result",
                "label": _("Result"),
                "value": filters["result"],
                "choices": [("", _("Every result")), *RESULTS.items()],
            },
        ],
        builtin=[
            build_builtin_view(_("Not fetched"), result=NOT_FETCHED),
            build_builtin_view(_("Refused"), result=REFUSED),
        ],
    )


def get_fetch_key(fetch: Fetch) -> str:
    return str(fetch.page)


STATES: dict[str, str] = {FETCHED: "succeeded", NOT_FETCHED: "failed", REFUSED: "held"}


@require_safe
def show_fetches(request: HttpRequest, project: str, pk: int) -> HttpResponseBase:
    """/p/<slug>/jobs/<id>/fetches"""
    actor, where = get_project_context(request, project)
    job = queries.get_job(actor, where, pk)
    context = build_job_context(actor, job, "fetches")
    report = load_fetch_report(job)
    table = build_fetches_table(report.rows, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    rows = [{"one": fetch, "state": STATES[fetch.result], "result": RESULTS[fetch.result]} for fetch in table.rows]
    context |= {**table.build_context(), "rows": rows, "found": report}
    return render(request, "jobs/fetches.html", context, status=table.status)
