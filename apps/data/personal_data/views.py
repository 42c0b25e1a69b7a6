"""Pages of the inventory of personal data: of a project, and of the plane."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound, PlaneError
from apps.core.lists.csv_files import build_csv_response, encode_csv, format_cell
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.request_values import parse_int
from apps.data.datasets.queries import get_dataset
from apps.data.personal_data import queries, services
from apps.data.personal_data.categories import Category, LegalBasis
from apps.data.personal_data.lists import PLANE_COLUMNS, PROJECT_COLUMNS, build_plane_table, build_project_table
from apps.data.personal_data.suggestions import suggest_columns
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from apps.platform.audit.services import record

FIELDS = ("dataset", "column", "category", "purpose", "legal_basis", "retain_until")


@mark_list_view(PROJECT_COLUMNS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_project_inventory(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/personal-data: the marked columns; the forms mark one or take a mark away."""
    actor, where = get_project_context(request, project)
    policy.require(actor, "personal_data.view", where)
    if request.method != "POST":
        if request.GET.get("format") == "csv":
            return export_list(actor, build_project_table(actor, where, request.GET), project=where)
        sent = {name: request.GET.get(name, "")[:200] for name in ("dataset", "column")}
        sent["category"] = request.GET.get("as", "")[:20]
        return render_inventory(request, actor, where, sent)
    if "unmark" in request.POST:
        unmark(request, actor, where)
        return redirect("personal_data:list", project=where.slug)
    sent = {name: request.POST.get(name, "")[:400].replace("\x00", "") for name in FIELDS}
    try:
        mark(actor, where, sent)
    except (Conflict, Invalid, NotFound) as error:
        field = (error.field or "").strip("/")
        faults = {field if field in FIELDS else "dataset": str(translate_error(error))}
        return render_inventory(request, actor, where, sent, faults, error.status)
    messages.success(request, _("The column is marked as personal data."))
    return redirect("personal_data:list", project=where.slug)


def mark(actor: Actor, where: Project, sent: dict[str, str]) -> None:
    policy.require(actor, "personal_data.mark", where)
    try:
        day = parse_date(sent["retain_until"])
    except ValueError:
        day = None
    if day is None:
        raise Invalid("{text!r} is not a day.", text=sent["retain_until"][:40], field="retain_until")
    dataset = get_dataset(actor, where, sent["dataset"])
    values = {name: sent[name] for name in ("column", "category", "purpose", "legal_basis")}
    services.mark_column(actor=actor, dataset=dataset, retain_until=day, **values)


def unmark(request: HttpRequest, actor: Actor, where: Project) -> None:
    row = queries.get_personal_column(actor, where, parse_int(request.POST["unmark"]) or 0)
    try:
        services.unmark_column(actor=actor, mark=row, reason=request.POST.get("reason", ""))
        messages.success(request, _("The mark is removed."))
    except Invalid as error:
        messages.error(request, translate_error(error))


def render_inventory(
    request: HttpRequest,
    actor: Actor,
    where: Project,
    sent: dict[str, str],
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    table = build_project_table(actor, where, request.GET)
    may_mark = policy.is_allowed(actor, "personal_data.mark", where)
    context: dict[str, Any] = {
        **table.build_context(),
        "nav": "data",
        "fields": build_fields(sent, faults or {}) if may_mark else [],
        "may_change": policy.is_allowed(actor, "personal_data.change", where),
        "dataset": sent.get("dataset", ""),
        "suggestions": None,
    }
    if may_mark and sent.get("dataset") and not faults:
        try:
            suggestions = suggest_columns(actor, get_dataset(actor, where, sent["dataset"]))
            context["suggestions"] = [(row, Category(row.category).label) for row in suggestions]
        except PlaneError as error:
            context["wrong_dataset"] = translate_error(error)
    return render(request, "personal_data/project.html", context, status=table.status if status == 200 else status)


def build_fields(sent: dict[str, str], faults: dict[str, str]) -> list[dict[str, Any]]:
    controls: tuple[dict[str, Any], ...] = (
        {"label": _("Dataset"), "control": "text", "required": True},
        {"label": _("Column"), "control": "text", "required": True},
        {"label": _("Category"), "control": "select", "choices": Category.choices, "required": True},
        {"label": _("Purpose"), "control": "text", "required": True, "doc": _("What the data is used for.")},
        {"label": _("Legal basis"), "control": "select", "choices": LegalBasis.choices, "required": True},
        {
            "label": _("Retained until"),
            "control": "text",
            "required": True,
            "doc": _("The last day of use, as YYYY-MM-DD."),
        },
    )
    return [
        {"pointer": name, "value": sent.get(name, ""), "error": faults.get(name, ""), **each}
        for name, each in zip(FIELDS, controls, strict=True)
    ]


@mark_list_view(PLANE_COLUMNS.key)
@require_safe
def show_plane_inventory(request: HttpRequest) -> HttpResponseBase:
    """/personal-data: the marked columns of every project, and the plane's own tables."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_plane_table(actor, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {
        **table.build_context(),
        "nav": "audit",
        "tables": queries.list_tables(actor),
        "overdue": queries.count_overdue(),
    }
    return render(request, "personal_data/plane.html", context, status=table.status)


@require_safe
def export_tables(request: HttpRequest) -> HttpResponseBase:
    """/personal-data/tables.csv: the plane's own tables. Recorded."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tables = queries.list_tables(actor)
    record(actor=actor, action="list.export", object_type="list", object_id="plane-personal-data-tables")
    with translation.override("en"):
        rows = [[format_cell(value) for value in row] for row in tables]
        return build_csv_response("plane-personal-data-tables", encode_csv([list(tables[0]._fields), *rows]))
