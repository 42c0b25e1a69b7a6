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
from apps.ml.registry import queries
from apps.ml.registry.models import Model, ModelQuerySet, ModelVersion, ModelVersionQuerySet
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.models import Project
from apps.platform.audit.list_export import csv_response
from apps.platform.jobs.views import get_project_context
from deepseek.messages import N_


def of(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row, name)


def figure(name: str) -> Callable[[Any], str]:
    """The first figure of these metrics with its unit, as a page shows it."""

    def told(row: Any) -> str:
        metrics = getattr(row, name) or []
        first = metrics[0] if metrics else {}
        return " ".join(str(first[key]) for key in ("name", "value", "unit") if first.get(key) not in (None, ""))

    return told


def aliases(version: ModelVersion) -> list[str]:
    return sorted(alias.name for alias in version.aliases.all())


MODELS = Listing(
    "models",
    (
        Column("name", gettext_lazy("Model"), of("name"), ("name",)),
        Column("description", gettext_lazy("Description"), of("description"), default_visible=False),
        Column("production", gettext_lazy("In production"), of("production")),
        Column("production_figure", gettext_lazy("Its figure"), figure("production_metrics")),
        Column("newest", gettext_lazy("Newest version"), lambda row: row.newest or 0),
        Column("newest_figure", gettext_lazy("Figure of the newest"), figure("newest_metrics")),
        Column("by", gettext_lazy("By"), of("created_by"), default_visible=False),
        Column("registered", gettext_lazy("Registered"), of("changed_at"), ("touched_at", "id"), down=True),
        Column("made", gettext_lazy("Made"), of("created_at"), ("id",), down=True, default_visible=False),
    ),
    sort="name",
)
VERSIONS = Listing(
    "model_versions",
    (
        Column("version", gettext_lazy("Version"), of("number"), ("number",), down=True),
        Column("aliases", gettext_lazy("Aliases"), aliases),
        Column("figure", gettext_lazy("Figure"), figure("metrics")),
        Column("digest", gettext_lazy("Digest"), of("digest")),
        Column("run", gettext_lazy("Run"), of("run_id")),
        Column("job", gettext_lazy("Registered by"), of("job_id")),
        Column("by", gettext_lazy("For"), of("created_by"), default_visible=False),
        Column("when", gettext_lazy("When"), of("created_at")),
        Column("note", gettext_lazy("Note"), of("note")),
    ),
    sort="-version",
)


# -- models ---------------------------------------------------------------------------------------------------------
@mark_list_view(MODELS.key)
@require_safe
def model_list(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/models: every model with what is in production and what its newest version does."""
    actor, where = get_project_context(request, project)
    asked = read_filter_values(request.GET, ("name", "production"))
    table = build_table(
        MODELS,
        request.GET,
        lambda: found_models(actor, where, request.GET, asked),
        filters=filter_bar(request.GET, asked),
        builtin=[
            build_builtin_view(_("In production"), production="yes"),
            build_builtin_view(_("Nothing in production"), production="no"),
            build_builtin_view(_("Registered in 7 days"), registered_after="7d"),
        ],
        sort="-registered" if request.GET.get("registered_after") or request.GET.get("registered_before") else "",
    )
    if request.GET.get("format") == "csv":
        return csv_response(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "models",
        "count": Model.objects.visible_to(actor).filter(project=where).count(),
        "may_submit": is_allowed(actor, "job.submit", where),
    }
    return render(request, "registry/list.html", context, status=table.status)


def found_models(actor: Actor, project: Project, params: QueryDict, asked: dict[str, str]) -> ModelQuerySet:
    models = queries.list_models(actor, project, query=asked["name"])
    match asked["production"]:
        case "yes":
            models = models.filter(production__isnull=False)
        case "no":
            models = models.filter(production__isnull=True)
        case "":
            pass
        case other:
            raise Invalid("{text!r} is neither yes nor no.", text=other[:40], field="production", limit="yes, no")
    found: ModelQuerySet = filter_between_days(models, "touched_at", params, "registered")
    return found


def filter_bar(params: QueryDict, asked: dict[str, str]) -> list[dict[str, Any]]:
    choices = [("", _("In production or not")), ("yes", _("In production")), ("no", _("Nothing in production"))]
    return [
        {"name": "name", "label": _("Name"), "value": asked["name"]},
        {"name": "production", "label": _("Production"), "value": asked["production"], "choices": choices},
        *build_day_filters(params, "registered", _("Registered from"), _("Registered until")),
    ]


# -- versions of one ------------------------------------------------------------------------------------------------
def versions_table(actor: Actor, model: Model, params: QueryDict) -> ListTable:
    """The versions of a model as its page shows them, newest first."""
    asked = read_filter_values(params, ("alias", "note"))
    return build_table(
        VERSIONS,
        params,
        lambda: found_versions(actor, model, params, asked),
        filters=[
            {"name": "alias", "label": _("Alias"), "value": asked["alias"]},
            {"name": "note", "label": _("Note"), "value": asked["note"]},
            *build_day_filters(params, "made", pgettext("day", "Made from"), _("Made until")),
        ],
        builtin=[build_builtin_view(_("In production"), alias=PRODUCTION)],
    )


def found_versions(actor: Actor, model: Model, params: QueryDict, asked: dict[str, str]) -> ModelVersionQuerySet:
    versions = queries.list_versions(actor, model)
    if asked["alias"]:
        versions = versions.filter(aliases__name=asked["alias"])  # of one model: a version at most
    if asked["note"]:
        versions = versions.filter(note__icontains=asked["note"])
    found: ModelVersionQuerySet = filter_between_days(versions, "created_at", params, "made")
    return found


@require_safe
def compare_two(request: HttpRequest, project: str, name: str) -> HttpResponseRedirect:
    """Two selected versions beside each other: on to the newer one's page that compares. Invalid for other counts."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    picked = {one for one in request.GET.getlist("ids") if one.isascii() and one.isdigit() and len(one) < 10}
    if len(picked) != 2:
        raise Invalid(
            "{count} versions are selected.",
            count=len(picked),
            field="ids",
            limit="2",
            hint=N_("Select two versions of the model."),
        )
    older, newer = sorted(map(int, picked))
    page = reverse("registry:compare", args=[where.slug, model.name, newer])
    return HttpResponseRedirect(f"{page}?{urlencode({'with': older})}")
