"""The list of labelling projects, and the form of a new one."""

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
from apps.ml.labelling import queries
from apps.ml.labelling.forms import LabellingForm
from apps.ml.labelling.models import LabellingProject
from apps.ml.labelling.presenters import Row, list_labelling_rows, list_server_rows
from apps.ml.labelling.states import LabellingState
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

LISTED_SCHEMAS = 20


def read_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["labelling"], name)


LABELLINGS = Listing(
    "labelling",
    (
        Column("name", gettext_lazy("Labelling project"), read_field("name")),
        Column("state", gettext_lazy("State"), read_field("state")),
        Column("level", gettext_lazy("Level"), lambda row: row["labelling"].schema.level),
        Column("source", gettext_lazy("Dataset version"), lambda row: str(row["labelling"].source)),
        Column("tasks", gettext_lazy("Tasks"), read_field("tasks_count"), numeric=True),
        Column("done", gettext_lazy("Agreed"), lambda row: row["done"], numeric=True),
        Column("agreement", gettext_lazy("Agreement"), read_field("agreement_value"), numeric=True),
        Column("server", gettext_lazy("Connection"), lambda row: row["labelling"].server.name, default_visible=False),
        Column("made", gettext_lazy("Created"), read_field("created_at"), ("id",), down=True),
    ),
    sort="-made",
)


@mark_list_view(LABELLINGS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_labellings(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/labelling: newest first; a POST creates one."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        form = LabellingForm(where, before=find_level_before(request, actor, where), clearance=actor.clearance)
        return render_labellings(request, actor, where, form)
    require(actor, "labelling.create", where)
    form = LabellingForm(where, request.POST, clearance=actor.clearance)
    labelling = form.create(actor)
    if labelling is None:
        return render_labellings(request, actor, where, form, status=422)
    messages.success(request, _("The labelling project %(name)s is created.") % {"name": labelling.name})
    return redirect("labelling:project", project=where.slug, pk=labelling.pk)


def find_level_before(request: HttpRequest, actor: Actor, where: Project) -> LabellingProject | None:
    """The labelling project whose next level the form begins with, ?parent=NAME."""
    name = request.GET.get("parent", "")
    return queries.list_labellings(actor, where).filter(name=name).first() if name else None


def render_labellings(
    request: HttpRequest, actor: Actor, where: Project, form: LabellingForm, status: int = 200
) -> HttpResponseBase:
    filters = read_filter_values(request.GET, ("state", "level"))
    states = [("", _("Every state")), *((value, str(label)) for value, label in LabellingState.choices)]
    table = build_table(
        LABELLINGS,
        request.GET,
        lambda: queries.list_labellings(actor, where, **filters),
        filters=[
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
            {"name": "level", "label": _("Level"), "value": filters["level"], "choices": list_level_choices()},
        ],
        transform_rows=list_labelling_rows,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "data",
        "count": queries.list_labellings(actor, where).count(),
        "servers": list_server_rows(list(queries.list_servers(actor, where).order_by("name"))),
        "schemas": list(queries.list_project_schema_versions(actor, where).order_by("-id")[:LISTED_SCHEMAS]),
        "may_create": is_allowed(actor, "labelling.create", where),
        "may_connect": is_allowed(actor, "labelling.connect", where),
        "form": form,
    }
    return render(request, "labelling/list.html", context, status=table.status if status == 200 else status)


def list_level_choices() -> list[tuple[str, str]]:
    return [
        ("", _("Every level")),
        ("basic", _("Basic: entities")),
        ("semantic", _("Semantic: relations")),
        ("domain", _("Domain: business rules")),
    ]
