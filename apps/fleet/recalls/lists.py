"""The page of recalls, and the search for what carries something: with its counts, its lists and the form to recall
it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.lists.pages import paginate
from apps.core.messages import translate_error
from apps.core.policy import is_allowed, require
from apps.fleet.recalls import presenters, queries
from apps.fleet.recalls.forms import RecallForm
from apps.fleet.recalls.states import RecallState
from apps.fleet.recalls.subjects import TYPES, Subject, find_subject
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

RECALLS = Listing(
    "recalls",
    (
        Column("recall", gettext_lazy("Recall"), lambda recall: recall.pk),
        Column("state", gettext_lazy("State"), lambda recall: recall.state),
        Column("subject", gettext_lazy("Recalled object"), lambda recall: recall.subject_label),
        Column("reason", gettext_lazy("Reason"), lambda recall: recall.reason),
        Column("by", gettext_lazy("By"), lambda recall: recall.started_by),
        Column("started", gettext_lazy("Started"), lambda recall: recall.started_at, ("id",), down=True),
    ),
    sort="-started",
)
DEFAULT_KIND = "model_version"


@mark_list_view(RECALLS.key)
@require_safe
def show_recalls(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/recalls: the newest first, and the search."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, ("state",))
    states = [("", _("Every state")), *((value, str(word)) for value, word in RecallState.choices)]
    table = build_table(
        RECALLS,
        request.GET,
        lambda: queries.list_recalls(actor, where, state=filters["state"]),
        filters=[{"name": "state", "label": _("State"), "value": filters["state"], "choices": states}],
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    rows = [{"recall": recall, "colour": presenters.STATE_COLOURS[recall.state]} for recall in table.rows]
    context = {**table.build_context(), "nav": "devices", "rows": rows, "types": list_types(), "query": {}}
    return render(request, "recalls/list.html", context, status=table.status)


def list_types() -> list[tuple[str, str]]:
    return [(type, presenters.describe_type(type)) for type in TYPES]


@require_http_methods(["GET", "HEAD", "POST"])
def search_carriers(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/recalls/search?type=...&id=...&row=...: what carries it; a POST recalls it."""
    actor, where = get_project_context(request, project)
    names = ("type", "id", "row")
    query = {name: request.GET.get(name, "").strip()[:300] for name in names}
    try:
        subject = find_subject(actor, where, query["type"], query["id"], query["row"] or None)
    except PlaneError as error:
        if error.status not in (404, 422):
            raise
        require(actor, "recall.view", where)
        context = {"nav": "devices", "query": query, "types": list_types(), "wrong": translate_error(error)}
        return render(request, "recalls/search.html", context, status=error.status if query["id"] else 200)
    if request.method != "POST":
        return render_search(request, actor, where, subject, query, RecallForm(subject))
    require(actor, "recall.start", where)
    form = RecallForm(subject, request.POST)
    recall = form.save(actor, where)
    if recall is None:
        return render_search(request, actor, where, subject, query, form, status=422)
    return redirect("recalls:detail", project=where.slug, pk=recall.pk)


def render_search(
    request: HttpRequest,
    actor: Actor,
    where: Project,
    subject: Subject,
    query: dict[str, str],
    form: RecallForm,
    *,
    status: int = 200,
) -> HttpResponse:
    preview = queries.preview_recall(actor, where, subject)
    kind = request.GET.get("kind") or DEFAULT_KIND
    page = paginate(queries.list_carrier_rows(actor, where, preview, kind), request.GET, order=("pk",))
    context: dict[str, Any] = {
        "nav": "devices",
        "subject": subject,
        "subject_text": presenters.describe_subject(subject.label, subject.row),
        "subject_kind": presenters.describe_type(subject.type),
        "query": query,
        "types": list_types(),
        "preview": preview,
        "kind": kind,
        "kinds": presenters.count_kinds(preview, kind),
        "page": page,
        "rows": presenters.list_carriers(preview, kind, page.items, where.slug),
        "form": form,
        "may_start": is_allowed(actor, "recall.start", where) and bool(preview.carriers.version_ids),
        "ongoing": queries.find_ongoing(where, subject),
    }
    return render(request, "recalls/search.html", context, status=status)
