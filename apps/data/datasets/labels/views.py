"""Pages of security labels, for the security administrator and the auditor."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.data.datasets.labels import queries, services
from apps.data.datasets.labels.lists import DATASETS, PROJECTS, build_datasets_table, build_projects_table
from apps.platform.accounts.factors.views import ask_for_fresh_factor
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.accounts.security_labels import get_label_name, list_labels
from apps.platform.accounts.services import set_project_label
from apps.platform.audit.list_export import export_list

FIELDS = ("dataset", "label", "reason")


@mark_list_view(PROJECTS.key)
@require_safe
def show_labels(request: HttpRequest) -> HttpResponseBase:
    """/labels: every project with its label."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_projects_table(actor, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {**table.build_context(), "names": list_labels()}
    return render(request, "datasets/labels.html", context, status=table.status)


@mark_list_view(DATASETS.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_project_labels(request: HttpRequest, slug: str) -> HttpResponseBase:
    """/labels/<project>: its label and those of its datasets; the form sets one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    policy.require(actor, "label.view")
    where = get_project(actor, slug)
    if request.method != "POST":
        if request.GET.get("format") == "csv":
            return export_list(actor, build_datasets_table(actor, where, request.GET), project=where)
        return render_project(request, actor, where)
    sent = {name: request.POST.get(name, "")[:2100].strip() for name in FIELDS}
    policy.require(actor, "project.set_label", where)
    back = reverse("labels:project", args=[where.slug])
    if (answer := ask_for_fresh_factor(request, actor, "project.set_label", back=back)) is not None:
        return answer
    change: dict[str, Any] = {"actor": actor, "label": sent["label"], "reason": sent["reason"]}
    try:
        if sent["dataset"]:
            dataset = queries.get_labelled_dataset(actor, where, sent["dataset"])
            services.set_dataset_label(dataset=dataset, **change)
        else:
            set_project_label(project=where, **change)
    except (Conflict, Invalid, NotFound) as error:
        field = (error.field or "").strip("/")
        faults = {field if field in FIELDS else "label": str(translate_error(error))}
        return render_project(request, actor, where, sent, faults, error.status)
    messages.success(request, _("The security label is set."))
    return redirect("labels:project", where.slug)


def render_project(
    request: HttpRequest,
    actor: Actor,
    where: Project,
    sent: dict[str, str] | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    table = build_datasets_table(actor, where, request.GET)
    context = {
        **table.build_context(),
        "where": where,
        "label_name": get_label_name(where.security_label),
        "fields": build_fields(table.rows, sent or {}, faults or {})
        if policy.is_allowed(actor, "project.set_label", where)
        else [],
    }
    return render(request, "datasets/project_labels.html", context, status=table.status if status == 200 else status)


def build_fields(rows: Any, sent: dict[str, str], faults: dict[str, str]) -> list[dict[str, Any]]:
    labels = [(name, name) for name in list_labels()]
    controls: tuple[dict[str, Any], ...] = (
        {
            "label": _("Dataset"),
            "control": "text",
            "doc": _("Empty: the project as a whole."),
            "datalist": [row.name for row in rows],
        },
        {"label": _("Security label"), "control": "select", "choices": labels, "required": True},
        {"label": _("Reason"), "control": "textarea", "doc": _("Required where a label is lowered.")},
    )
    return [
        {"pointer": name, "value": sent.get(name, ""), "error": faults.get(name, ""), **each}
        for name, each in zip(FIELDS, controls, strict=True)
    ]
