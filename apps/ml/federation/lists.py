"""The lists of studies, on either side, and the egress ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.policy import is_allowed, require
from apps.ml.federation import exports, presenters, queries
from apps.ml.federation.ledger_checks import check_ledgers
from apps.ml.federation.presenters import Row
from apps.ml.federation.site_api import FILTERS, PLANE_FILTERS, build_ledger_response
from apps.ml.federation.states import StudyState
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from deepseek.federated.code import read_study_code

MAX_SITE_STUDIES = 100  # of the page; REST pages them all
MAX_CHECKS = 20


def read_study_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["study"], name)


def read_entry_field(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row["entry"], name)


STUDIES = Listing(
    "studies",
    (
        Column("name", gettext_lazy("Study"), read_study_field("name")),
        Column("state", gettext_lazy("State"), read_study_field("state")),
        Column("rounds", gettext_lazy("Rounds"), lambda row: row["study"].document["rounds"], numeric=True),
        Column("job", gettext_lazy("Job"), read_study_field("job_id"), numeric=True),
        Column("creator", gettext_lazy("Created by"), read_study_field("created_by"), default_visible=False),
        Column("made", gettext_lazy("Created"), read_study_field("created_at"), ("id",), down=True),
    ),
    sort="-made",
)
LEDGER = Listing(
    "ledger",
    (
        Column("study", gettext_lazy("Study"), lambda row: row["entry"].site_study.name),
        Column("site", gettext_lazy("Site"), lambda row: row["entry"].site_study.site),
        Column("round", gettext_lazy("Round"), read_entry_field("round"), numeric=True),
        Column("kind", gettext_lazy("Kind"), read_entry_field("kind")),
        Column("bytes", gettext_lazy("Bytes"), read_entry_field("size"), numeric=True),
        Column("norm", gettext_lazy("Norm"), read_entry_field("norm"), numeric=True),
        Column("epsilon", gettext_lazy("Epsilon"), read_entry_field("epsilon"), numeric=True),
        Column("digest", gettext_lazy("Digest of the bytes"), read_entry_field("update_digest")),
        Column("reason", gettext_lazy("Reason"), read_entry_field("reason")),
        Column("at", gettext_lazy("Written"), read_entry_field("at"), ("id",), down=True),
    ),
    sort="-at",
)
PLANE_LEDGER = Listing(
    "plane_ledger",
    (
        Column("project", gettext_lazy("Project"), lambda row: row["entry"].site_study.project.slug),
        *LEDGER.columns,
    ),
    sort="-at",
)


@mark_list_view(STUDIES.key)
@require_safe
def show_studies(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/studies: those that this plane takes part in, and those that it coordinates."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, ("state",))
    states = [("", _("Every state")), *((value, str(label)) for value, label in StudyState.choices)]
    table = build_table(
        STUDIES,
        request.GET,
        lambda: queries.list_studies(actor, where, **filters),
        filters=[{"name": "state", "label": _("State"), "value": filters["state"], "choices": states}],
        transform_rows=presenters.list_study_rows,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    joined = queries.list_site_studies(actor, where).order_by("-id")[:MAX_SITE_STUDIES]
    context = {
        **table.build_context(),
        "nav": "models",
        "joined": presenters.list_site_study_rows(list(joined)),
        "may_create": is_allowed(actor, "federation.create_study", where),
        "may_import": is_allowed(actor, "federation.import_study", where),
    }
    return render(request, "federation/list.html", context, status=table.status)


@mark_list_view(LEDGER.key)
@require_safe
def show_ledger(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/studies/ledger: all that ever left, what was refused, and whether each ledger verifies."""
    actor, where = get_project_context(request, project)
    require(actor, "federation.view", where)
    filters = read_filter_values(request.GET, FILTERS)
    table = build_table(
        LEDGER,
        request.GET,
        lambda: queries.list_ledger(actor, where, **filters),
        filters=list_ledger_filters(actor, where, filters),
        transform_rows=presenters.list_ledger_rows,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    checked = list(queries.list_site_studies(actor, where).order_by("-id")[:MAX_CHECKS])
    context = {
        **table.build_context(),
        "nav": "models",
        "count": queries.list_ledger(actor, where).count(),
        "checks": [{"study": row, "check": check} for row, check in zip(checked, check_ledgers(checked), strict=True)],
    }
    return render(request, "federation/ledger.html", context, status=table.status)


@mark_list_view(PLANE_LEDGER.key)
@require_safe
def show_plane_ledger(request: HttpRequest) -> HttpResponseBase:
    """/audit/egress-ledger: all that ever left this plane, over all projects, for the auditor."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    require(actor, "audit.view")
    filters = read_filter_values(request.GET, PLANE_FILTERS)
    table = build_table(
        PLANE_LEDGER,
        request.GET,
        lambda: queries.list_plane_ledger(actor, **filters),
        filters=[
            {"name": "project", "label": _("Project"), "value": filters["project"], "type": "text"},
            {"name": "study", "label": _("Study"), "value": filters["study"], "type": "text"},
            *list_entry_filters(filters),
        ],
        transform_rows=presenters.list_ledger_rows,
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {**table.build_context(), "nav": "audit", "count": queries.list_plane_ledger(actor).count()}
    return render(request, "federation/plane_ledger.html", context, status=table.status)


def list_ledger_filters(actor: Actor, where: Project, filters: dict[str, str]) -> list[dict[str, Any]]:
    rows = queries.list_site_studies(actor, where).order_by("-id")[:MAX_SITE_STUDIES]
    studies = [("", _("Every study")), *((str(row.pk), str(row)) for row in rows)]
    study = {"name": "study", "label": _("Study"), "value": filters["study"], "choices": studies}
    return [study, *list_entry_filters(filters)]


def list_entry_filters(filters: dict[str, str]) -> list[dict[str, Any]]:
    kinds = [("", _("Every kind")), *((kind, str(presenters.ENTRY_LABELS[kind])) for kind in queries.ENTRY_KINDS)]
    return [
        {"name": "kind", "label": _("Kind"), "value": filters["kind"], "choices": kinds},
        {"name": "site", "label": _("Site"), "value": filters["site"], "type": "text"},
        {"name": "round", "label": _("Round"), "value": filters["round"], "type": "text"},
        {"name": "since", "label": _("From"), "value": filters["since"], "type": "date"},
        {"name": "until", "label": _("To"), "value": filters["until"], "type": "date"},
    ]


@require_safe
def download_ledger(request: HttpRequest, project: str, pk: int) -> HttpResponseBase:
    actor, where = get_project_context(request, project)
    return build_ledger_response(actor, queries.get_site_study(actor, where, pk))


@require_safe
def download_verifier(request: HttpRequest, project: str) -> HttpResponse:
    """The program that verifies a ledger elsewhere: a copy of deepseek/federated/ledger_verifier.py."""
    actor, where = get_project_context(request, project)
    require(actor, "federation.view", where)
    text = read_study_code()["ledger_verifier.py"]
    return exports.build_download(text, "ledger_verifier.py", "text/x-python")
