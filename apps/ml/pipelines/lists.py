"""The list of pipelines: its columns, what narrows it, and cancelling many of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.lists.listing import (
    Column,
    Listing,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    mark_list_view,
    read_filter_values,
)
from apps.ml.pipelines import queries, services
from apps.ml.pipelines.models import Pipeline, PipelineQuerySet
from apps.ml.pipelines.queries import PipelineSummary
from apps.ml.pipelines.states import PipelineState
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.bulk_actions import (
    REASON_LIMIT,
    Done,
    build_result_context,
    get_return_url,
    parse_numeric_ids,
    run_bulk_action,
)
from apps.platform.audit.list_export import export_list

Row = dict[str, Any]  # {pipeline, summary, template}


def build_field_reader(name: str) -> Any:
    return lambda row: getattr(row["pipeline"], name)


def get_seconds_taken(row: Row) -> float | None:
    took = row["summary"].took
    return took.total_seconds() if took else None


def get_ended_at(row: Row) -> datetime | None:
    """When its last job ended; one that moves has not ended."""
    summary: PipelineSummary = row["summary"]
    return None if summary.moving else summary.ended_at


PIPELINES = Listing(
    "pipelines",
    (
        Column("pipeline", gettext_lazy("Pipeline"), build_field_reader("pk"), ("id",), down=True),
        Column("name", gettext_lazy("Name"), build_field_reader("name")),
        Column("state", gettext_lazy("State"), lambda row: row["summary"].state),
        Column("steps", gettext_lazy("Steps"), lambda row: row["summary"].total, numeric=True, default_visible=False),
        Column("done", gettext_lazy("Steps done"), lambda row: row["summary"].succeeded),
        Column("template", gettext_lazy("Template"), build_field_reader("template"), ("template", "-id")),
        Column("rerun_of", gettext_lazy("Again from"), build_field_reader("rerun_of_id"), default_visible=False),
        Column("by", gettext_lazy("By"), build_field_reader("requester"), ("requester", "-id")),
        Column("made", gettext_lazy("Created"), build_field_reader("created_at"), ("created_at", "id"), down=True),
        Column("ended", gettext_lazy("Ended"), get_ended_at, default_visible=False),
        Column("took", gettext_lazy("Duration"), get_seconds_taken, numeric=True),
    ),
    sort="-pipeline",
)


# -- the list -------------------------------------------------------------------------------------------------------
@mark_list_view(PIPELINES.key)
@require_safe
def show_pipelines(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/pipelines: newest first, narrowed by the query; a filter of nonsense is said, and shows nothing."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, queries.FILTERS)
    dated = request.GET.get("made_after") or request.GET.get("made_before")
    table = build_table(
        PIPELINES,
        request.GET,
        lambda: filter_pipelines(actor, where, request.GET, filters),
        filters=build_filter_bar(request.GET, filters),
        transform_rows=add_summaries,
        builtin=list_builtin_views(actor),
        sort="-made" if dated else "",
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "jobs",
        "running": queries.list_pipelines(actor, where, state=PipelineState.RUNNING).count(),
        "may_submit": policy.is_allowed(actor, "pipeline.submit", where),
        "may_cancel": policy.is_allowed(actor, "pipeline.cancel", where),
        "command": format_example_call(request, where.slug),
        "first_ids": [pipeline.pk for pipeline in table.page.items[:2]],
        "cancel_body": {"reason": "..."},
    }
    return render(request, "pipelines/list.html", context, status=table.status)


def filter_pipelines(actor: Actor, project: Project, params: QueryDict, filters: dict[str, str]) -> PipelineQuerySet:
    pipelines: PipelineQuerySet = filter_between_days(
        queries.list_pipelines(actor, project, **filters), "created_at", params, "made"
    )
    return pipelines


def add_summaries(pipelines: Sequence[Pipeline]) -> list[Row]:
    """The rows of a page with how far each is; one query more."""
    summaries = queries.count_steps_by_state(pipeline.pk for pipeline in pipelines)
    labels = {key: str(template.label) for key, template in TEMPLATES.items()}
    return [
        {
            "pipeline": pipeline,
            "summary": summaries.get(pipeline.pk) or PipelineSummary.of([]),
            "template": labels.get(pipeline.template, pipeline.template),
        }
        for pipeline in pipelines
    ]


def build_filter_bar(params: QueryDict, filters: dict[str, str]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), *((value, str(word)) for value, word in PipelineState.choices)]
    templates = [("", _("Every template")), *((key, str(template.label)) for key, template in TEMPLATES.items())]
    return [
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
        {"name": "template", "label": _("Template"), "value": filters["template"], "choices": templates},
        {"name": "requester", "label": _("Who"), "value": filters["requester"]},
        *build_day_filters(params, "made", pgettext("day", "Created from"), _("Created until")),
    ]


def list_builtin_views(actor: Actor) -> list[dict[str, Any]]:
    return [
        build_builtin_view(_("Running"), state=PipelineState.RUNNING.value),
        build_builtin_view(_("Failed in 7 days"), state=PipelineState.FAILED.value, made_after="7d"),
        build_builtin_view(_("Mine"), requester=actor.label),
    ]


def format_example_call(request: HttpRequest, slug: str) -> str:
    """A pipeline from a terminal: two steps that do nothing, to try it."""
    url = request.build_absolute_uri(reverse("api-pipelines", args=[slug]))
    body = '{"steps": [{"name": "first", "kind": "noop"}, {"name": "second", "kind": "noop", "after": ["first"]}]}'
    headers = '-H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json"'
    return f"curl -X POST {url} {headers} -d '{body}'"


# -- many at once ---------------------------------------------------------------------------------------------------
@require_POST
def run_bulk_cancel(request: HttpRequest, project: str) -> HttpResponse:
    """Cancel the selected pipelines, each by itself; the answer says what became of each."""
    actor, where = get_project_context(request, project)
    verb, reason = request.POST.get("do", ""), request.POST.get("reason", "").strip()[:REASON_LIMIT]
    if verb != "cancel":
        raise Invalid("{verb!r} is nothing to do to pipelines.", verb=verb[:40], field="do", limit="cancel")
    policy.require(actor, "pipeline.cancel", where)
    if not reason:
        raise Invalid("Say why: it goes into the audit trail.", field="reason", limit=f"1..{REASON_LIMIT}")
    ids = parse_numeric_ids(request)

    def get_page_address(pk: int) -> str:
        return reverse("pipelines:detail", args=[where.slug, pk])

    def cancel_one(pk: int) -> Done:
        pipeline = queries.get_pipeline(actor, where, pk)
        services.cancel_pipeline(actor=actor, pipeline=pipeline, reason=reason)
        moving = queries.is_moving(pk)
        outcome = _("The workers were asked to stop what runs") if moving else _("Cancelled")
        return Done(str(pipeline), get_page_address(pk), outcome)

    outcomes = run_bulk_action(actor, ids, cancel_one, request=request, name=lambda pk: f"#{pk}", page=get_page_address)
    back = get_return_url(request, reverse("pipelines:list", args=[where.slug]))
    calls = {"address": "api-pipeline-cancel", "ids": ids, "body": {"reason": reason}}
    context = build_result_context(outcomes, title=_("Cancel pipelines"), back=back)
    return render(request, "pipelines/bulk.html", {**context, "nav": "jobs", "calls": calls})
