"""The lists of models, and of the versions of one: their columns, and what narrows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.lists.listing import (
    Column,
    Listing,
    ListTable,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    mark_list_view,
    read_filter_values,
)
from apps.core.policy import is_allowed
from apps.core.request_values import MAX_INT32, parse_int
from apps.ml.registry import queries
from apps.ml.registry.models import Model, ModelQuerySet, ModelVersion, ModelVersionQuerySet
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from deepseek.messages import N_


def get_field(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row, name)


def build_figure_reader(name: str) -> Callable[[Any], str]:
    """The first figure of these metrics with its unit, as a page shows it."""

    def format_figure(row: Any) -> str:
        metrics = getattr(row, name) or []
        first = metrics[0] if metrics else {}
        return " ".join(str(first[key]) for key in ("name", "value", "unit") if first.get(key) not in (None, ""))

    return format_figure


def list_alias_names(version: ModelVersion) -> list[str]:
    return sorted(alias.name for alias in version.aliases.all())


MODELS = Listing(
    "models",
    (
        Column("name", gettext_lazy("Model"), get_field("name"), ("name",)),
        Column("description", gettext_lazy("Description"), get_field("description"), default_visible=False),
        Column("production", gettext_lazy("In production"), get_field("production")),
        Column("production_figure", gettext_lazy("Metric (production)"), build_figure_reader("production_metrics")),
        Column("newest", gettext_lazy("Newest version"), lambda row: row.newest or 0),
        Column("newest_figure", gettext_lazy("Metric (latest)"), build_figure_reader("newest_metrics")),
        Column("by", gettext_lazy("By"), get_field("created_by"), default_visible=False),
        Column("registered", gettext_lazy("Registered"), get_field("changed_at"), ("touched_at", "id"), down=True),
        Column("made", gettext_lazy("Created"), get_field("created_at"), ("id",), down=True, default_visible=False),
    ),
    sort="name",
)
VERSIONS = Listing(
    "model_versions",
    (
        Column("version", gettext_lazy("Version"), get_field("number"), ("number",), down=True),
        Column("aliases", gettext_lazy("Aliases"), list_alias_names),
        Column("figure", gettext_lazy("Metric"), build_figure_reader("metrics")),
        Column("digest", gettext_lazy("Digest"), get_field("digest")),
        Column("run", gettext_lazy("Run"), get_field("run_id")),
        Column("job", gettext_lazy("Registered by"), get_field("job_id")),
        Column("by", gettext_lazy("For"), get_field("created_by"), default_visible=False),
        Column("when", gettext_lazy("When"), get_field("created_at")),
        Column("note", gettext_lazy("Note"), get_field("note")),
    ),
    sort="-version",
)


# -- models ---------------------------------------------------------------------------------------------------------
@mark_list_view(MODELS.key)
@require_safe
def show_models(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/models: every model with what is in production and what its newest version does."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, ("name", "production"))
    table = build_table(
        MODELS,
        request.GET,
        lambda: filter_models(actor, where, request.GET, filters),
        filters=build_filter_bar(request.GET, filters),
        builtin=[
            build_builtin_view(_("In production"), production="yes"),
            build_builtin_view(_("Nothing in production"), production="no"),
            build_builtin_view(_("Registered in 7 days"), registered_after="7d"),
        ],
        sort="-registered" if request.GET.get("registered_after") or request.GET.get("registered_before") else "",
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "models",
        "count": Model.objects.visible_to(actor).filter(project=where).count(),
        "may_submit": is_allowed(actor, "job.submit", where),
    }
    return render(request, "registry/list.html", context, status=table.status)


def filter_models(actor: Actor, project: Project, params: QueryDict, filters: dict[str, str]) -> ModelQuerySet:
    models = queries.list_models(actor, project, query=filters["name"])
    match filters["production"]:
        case "yes":
            models = models.filter(production__isnull=False)
        case "no":
            models = models.filter(production__isnull=True)
        case "":
            pass
        case value:
            raise Invalid("{text!r} is neither yes nor no.", text=value[:40], field="production", limit="yes, no")
    models_by_day: ModelQuerySet = filter_between_days(models, "touched_at", params, "registered")
    return models_by_day


def build_filter_bar(params: QueryDict, filters: dict[str, str]) -> list[dict[str, Any]]:
    choices = [("", _("In production or not")), ("yes", _("In production")), ("no", _("Nothing in production"))]
    return [
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        {"name": "production", "label": _("Production"), "value": filters["production"], "choices": choices},
        *build_day_filters(params, "registered", _("Registered from"), _("Registered until")),
    ]


# -- versions of one ------------------------------------------------------------------------------------------------
def build_versions_table(actor: Actor, model: Model, params: QueryDict) -> ListTable:
    """The versions of a model as its page shows them, newest first."""
    filters = read_filter_values(params, ("alias", "note"))
    return build_table(
        VERSIONS,
        params,
        lambda: filter_versions(actor, model, params, filters),
        filters=[
            {"name": "alias", "label": _("Alias"), "value": filters["alias"]},
            {"name": "note", "label": _("Note"), "value": filters["note"]},
            *build_day_filters(params, "made", pgettext("day", "Created from"), _("Created until")),
        ],
        builtin=[build_builtin_view(_("In production"), alias=PRODUCTION)],
    )


def filter_versions(actor: Actor, model: Model, params: QueryDict, filters: dict[str, str]) -> ModelVersionQuerySet:
    versions = queries.list_versions(actor, model)
    if filters["alias"]:
        versions = versions.filter(aliases__name=filters["alias"])  # of one model: a version at most
    if filters["note"]:
        versions = versions.filter(note__icontains=filters["note"])
    versions_by_day: ModelVersionQuerySet = filter_between_days(versions, "created_at", params, "made")
    return versions_by_day


@require_safe
def compare_two(request: HttpRequest, project: str, name: str) -> HttpResponseRedirect:
    """Two selected versions beside each other: on to the newer one's page that compares. Invalid for other counts."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    picked = {number for text in request.GET.getlist("ids") if (number := parse_int(text, 0, MAX_INT32)) is not None}
    if len(picked) != 2:
        raise Invalid(
            "{count} versions are selected.",
            count=len(picked),
            field="ids",
            limit="2",
            hint=N_("Select two versions of the model."),
        )
    older, newer = sorted(picked)
    page = reverse("registry:compare", args=[where.slug, model.name, newer])
    return HttpResponseRedirect(f"{page}?{urlencode({'with': older})}")
