"""Pages of artifacts: what a collection of garbage would take. The command collects; a page only looks."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.lists.listing import mark_list_view, read_filter_values
from apps.platform.artifacts.gc_preview import MOST, QUICK_SECONDS, SECONDS, Look, look_at_garbage, read_age
from apps.platform.artifacts.lists import AGE, GARBAGE, WHY, garbage_table, why_of
from apps.platform.audit.list_export import csv_response
from deepseek.messages import N_


@mark_list_view(GARBAGE.key)
@require_safe
def garbage(request: HttpRequest) -> HttpResponseBase:
    """/garbage: what nothing cites, how many bytes it is, and the command that collects it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "artifact.view_garbage")
    asked = read_filter_values(request.GET, ("why", "older_than", "look"))
    long = asked["look"] == "long" or request.GET.get("format") == "csv"
    seconds = SECONDS if long else QUICK_SECONDS
    age, wrong = asked["older_than"] or AGE, None
    try:
        look = look_at_garbage(actor=actor, older_than=read_age(age), seconds=seconds)
    except Invalid as error:
        look, wrong, age = Look([], True), error, AGE
    table = garbage_table(look.found, request.GET, older_than=age, why=asked["why"])
    table.wrong = wrong or table.wrong
    if request.GET.get("format") == "csv":
        if not look.complete:
            raise Invalid(
                "There is more than a look finds.",
                field="format",
                limit=f"{MOST} artifacts, or what {SECONDS:g} s find",
                hint=N_("manage.py collect_garbage --dry-run lists everything."),
            )
        return csv_response(actor, table)
    context = {
        **table.build_context(),
        "rows": [{"one": one, "why": WHY[why_of(one)]} for one in table.rows],
        "nav": "nodes",
        "look": look,
        "age": age,
        "untouched": read_age(age),
        "most": MOST,
        "seconds": f"{seconds:g}",
        "long": long,
    }
    return render(request, "artifacts/garbage.html", context, status=table.status)
