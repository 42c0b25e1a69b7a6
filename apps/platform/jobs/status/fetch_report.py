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

from apps.core.errors import Invalid
from apps.core.lists.listing import Column, Listing, Table, texts, view_of
from apps.core.lists.memory_lists import table_in_memory
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import usable
from apps.platform.artifacts.verification import read_verified
from apps.platform.audit.list_export import csv_response
from apps.platform.jobs import queries
from apps.platform.jobs.models import Job
from apps.platform.jobs.views import job_context, within

REPORT_TYPE = "application/vnd.plane.fetch-report+json"
REPORT_LIMIT = 16 * 1024 * 1024  # bytes of a report that is drawn; the engine tells of 10,000 pages
HOSTS_SHOWN = 50
HAD, NOT_HAD, REFUSED = "fetched", "missing", "refused"
RESULTS = {HAD: gettext_lazy("Fetched"), NOT_HAD: gettext_lazy("Not fetched"), REFUSED: gettext_lazy("Refused")}
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
            return HAD
        return REFUSED if self.why in FORBIDDEN else NOT_HAD


@dataclass(frozen=True, slots=True)
class Fetches:
    """What a report tells. `digest`: of its bytes, "" for no report; `listed`: whether it tells of single pages."""

    digest: str = ""
    rows: list[Fetch] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0
    listed: bool = True
    too_large: bool = False


def column(key: str, label: Any, **more: Any) -> Column:
    return Column(key, label, lambda one: getattr(one, key), (key,), **more)


FETCHES = Listing(
    "fetches",
    (
        column("page", gettext_lazy("Page"), numeric=True),
        column("url", gettext_lazy("Address")),
        column("result", gettext_lazy("Result")),
        column("status", gettext_lazy("Status"), numeric=True),
        column("bytes", gettext_lazy("Size"), numeric=True, down=True),
        column("at", gettext_lazy("When"), down=True),
        column("why", gettext_lazy("Why not")),
        Column("message", gettext_lazy("What it said"), lambda one: one.message or None, shown=False),
    ),
    sort="page",
)


# -- reading the report ---------------------------------------------------------------------------------------------
def fetches_of(job: Job) -> Fetches:
    """What the fetch report of a job tells; nothing for a job without one. Raises Damaged where its bytes are gone."""
    output = next((one for one in job.outputs.all() if one.media_type == REPORT_TYPE), None)
    if output is None:
        return Fetches()
    artifact: Artifact = usable(output.artifact)
    if artifact.size > REPORT_LIMIT:
        return Fetches(artifact.digest, too_large=True)
    told = json.loads(read_verified(artifact))
    rows, hosts = told.get("fetches"), told.get("refused") or []
    return Fetches(
        digest=artifact.digest,
        rows=[fetch_of(row) for row in rows or []],
        hosts=sorted(hosts, key=lambda host: -host["count"])[:HOSTS_SHOWN],
        left_out=told.get("fetches_left_out") or 0,
        listed=rows is not None,  # since v2
    )


def fetch_of(row: dict[str, Any]) -> Fetch:
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
def narrowed(rows: list[Fetch], asked: dict[str, str]) -> list[Fetch]:
    """The pages that fit the filters; Invalid for a result that there is not."""
    result, part = asked["result"], asked["q"].casefold()
    if result and result not in RESULTS:
        raise Invalid("There is no result {result!r}.", result=result[:40], field="result", limit=", ".join(RESULTS))
    return [
        one
        for one in rows
        if (not result or one.result == result)
        and (not part or part in f"{one.url} {one.why} {one.message}".casefold())
    ]


def fetches_table(rows: list[Fetch], params: QueryDict) -> Table:
    asked = texts(params, ("q", "result"))
    return table_in_memory(
        FETCHES,
        params,
        lambda: narrowed(rows, asked),
        key=key_of,
        filters=[
            {"name": "q", "label": _("Address or reason"), "value": asked["q"]},
            {
                "name": "result",
                "label": _("Result"),
                "value": asked["result"],
                "choices": [("", _("Every result")), *RESULTS.items()],
            },
        ],
        builtin=[view_of(_("Not fetched"), result=NOT_HAD), view_of(_("Refused"), result=REFUSED)],
    )


def key_of(one: Fetch) -> str:
    return str(one.page)


STATES: dict[str, str] = {HAD: "succeeded", NOT_HAD: "failed", REFUSED: "held"}


@require_safe
def fetches_page(request: HttpRequest, project: str, pk: int) -> HttpResponseBase:
    """/p/<slug>/jobs/<id>/fetches"""
    actor, where = within(request, project)
    job = queries.get_job(actor, where, pk)
    context = job_context(actor, job, "fetches")
    found = fetches_of(job)
    table = fetches_table(found.rows, request.GET)
    if request.GET.get("format") == "csv":
        return csv_response(actor, table, project=where)
    rows = [{"one": one, "state": STATES[one.result], "result": RESULTS[one.result]} for one in table.rows]
    context |= {**table.context(), "rows": rows, "found": found}
    return render(request, "jobs/fetches.html", context, status=table.status)
