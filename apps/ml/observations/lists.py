"""The list of sources: its columns, and what narrows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.policy import is_allowed, require
from apps.ml.observations import queries
from apps.ml.observations.forms import SourceForm
from apps.ml.observations.presenters import build_create_command, list_kinds, summarize_sources
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

Row = dict[str, Any]  # {source, figures}
FILTERS = ("name", "kind", "model")


def read_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["source"], name)


def read_figure(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["figures"], name)


def read_quality(row: Row) -> float | None:
    quality = row["figures"].quality
    return quality.value if quality else None


SOURCES = Listing(
    "observation_sources",
    (
        Column("name", gettext_lazy("Source"), read_field("name"), ("name",)),
        Column("kind", gettext_lazy("Kind"), read_field("kind")),
        Column("task", gettext_lazy("Task"), read_field("task")),
        Column("predictions", gettext_lazy("Predictions, 24 h"), read_figure("predictions"), numeric=True),
        Column("labelled", gettext_lazy("Labelled"), read_figure("labelled_share"), numeric=True),
        Column("quality", gettext_lazy("Accuracy or error"), read_quality, numeric=True),
        Column("sampling", gettext_lazy("Sampling rate"), read_field("sampling_rate"), numeric=True),
        Column("retention", gettext_lazy("Retention"), read_field("retention_days"), numeric=True),
        Column("received", gettext_lazy("Last batch"), read_field("received_at")),
        Column("made", gettext_lazy("Created"), read_field("created_at"), ("id",), down=True, default_visible=False),
    ),
    sort="name",
)


@mark_list_view(SOURCES.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_sources(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/observations: what sends here; a POST makes a source known."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        return render_sources(request, actor, where, SourceForm())
    require(actor, "observation.configure", where)
    form = SourceForm(request.POST)
    source = form.save(actor, where)
    if source is None:
        return render_sources(request, actor, where, form, status=422)
    messages.success(request, _("The source %(name)s is created.") % {"name": source.name})
    return redirect("observations:detail", project=where.slug, name=source.name)


def render_sources(
    request: HttpRequest, actor: Actor, where: Project, form: SourceForm, status: int = 200
) -> HttpResponseBase:
    filters = read_filter_values(request.GET, FILTERS)
    table = build_table(
        SOURCES,
        request.GET,
        lambda: queries.list_sources(actor, where, **filters),
        filters=build_filter_bar(filters),
        transform_rows=lambda rows: summarize_sources(actor, where, rows),
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "models",
        "count": queries.list_sources(actor, where).count(),
        "may_configure": is_allowed(actor, "observation.configure", where),
        "form": form,
        "create_command": build_create_command(request.build_absolute_uri("/").rstrip("/"), where),
    }
    return render(request, "observations/list.html", context, status=table.status if status == 200 else status)


def build_filter_bar(filters: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        {
            "name": "kind",
            "label": _("Kind"),
            "value": filters["kind"],
            "choices": [("", _("Every kind")), *list_kinds()],
        },
        {"name": "model", "label": _("Model"), "value": filters["model"]},
    ]
