"""The page of access history."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.lists.listing import mark_list_view
from apps.platform.access_history.lists import KEY, build_history_table
from apps.platform.access_history.queries import get_trail_limits
from apps.platform.accounts.projects import get_visible_projects
from apps.platform.audit.list_export import export_list


@mark_list_view(KEY)
@require_safe
def show_history(request: HttpRequest) -> HttpResponseBase:
    """/access-history: who had which grant on a day, or could do an action."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "access_history.view")
    slugs = [project.slug for project in get_visible_projects(request)]
    table, question = build_history_table(actor, request.GET, slugs)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {
        **table.build_context(),
        "question": question,
        "limits": get_trail_limits(question) if question is not None else None,
        "cells": [(row, {column.key: column.value(row) for column in table.listing.columns}) for row in table.rows],
    }
    return render(request, "access_history/list.html", context, status=table.status)
