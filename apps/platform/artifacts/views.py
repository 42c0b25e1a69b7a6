"""Pages of artifacts: what a collection of garbage would take. The command collects; a page only looks."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.lists.listing import mark_list_view, read_filter_values
from apps.platform.artifacts.gc_preview import MOST, QUICK_SECONDS, SECONDS, GarbagePreview, preview_garbage, read_age
from apps.platform.artifacts.lists import AGE, GARBAGE, WHY, build_garbage_table, get_reason
from apps.platform.audit.list_export import export_list
from deepseek.messages import N_


@mark_list_view(GARBAGE.key)
@require_safe
def show_garbage(request: HttpRequest) -> HttpResponseBase:
    """/garbage: what nothing cites, how many bytes it is, and the command that collects it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "artifact.view_garbage")
    params = read_filter_values(request.GET, ("why", "older_than", "look"))
    long = params["look"] == "long" or request.GET.get("format") == "csv"
    seconds = SECONDS if long else QUICK_SECONDS
    age, wrong = params["older_than"] or AGE, None
    try:
        look = preview_garbage(actor=actor, older_than=read_age(age), seconds=seconds)
    except Invalid as error:
        look, wrong, age = GarbagePreview([], True), error, AGE
    table = build_garbage_table(look.found, request.GET, older_than=age, why=params["why"])
    table.wrong = wrong or table.wrong
    if request.GET.get("format") == "csv":
        if not look.complete:
            raise Invalid(
                "There is more than a look finds.",
                field="format",
                limit=f"{MOST} artifacts, or what {SECONDS:g} s find",
                hint=N_("manage.py collect_garbage --dry-run lists everything."),
            )
        return export_list(actor, table)
    context = {
        **table.build_context(),
        "rows": [{"one": item, "why": WHY[get_reason(item)]} for item in table.rows],
        "nav": "nodes",
        "look": look,
        "age": age,
        "untouched": read_age(age),
        "most": MOST,
        "seconds": f"{seconds:g}",
        "long": long,
    }
    return render(request, "artifacts/garbage.html", context, status=table.status)
