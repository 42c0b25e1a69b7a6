"""Bulk actions on the selected runs of the list, and completions for its filter field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.request_values import parse_int, validate_choice
from apps.ml.experiments import queries
from apps.ml.experiments.filters import completion
from apps.ml.experiments.models import Run
from apps.ml.experiments.services import annotations
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.bulk_actions import (
    REASON_LIMIT,
    Done,
    build_result_context,
    get_return_url,
    parse_ids,
    run_bulk_action,
)
from deepseek.messages import N_

Act = Callable[[Run], str]
LOOKED_AT = ("compare", "points", "charts")  # what changes nothing: it leads to another address


@require_POST
def apply_bulk_action(request: HttpRequest, project: str) -> HttpResponseBase:
    """Tag, delete or restore the selected runs, each by itself; or go where they are compared, or their points are."""
    actor, where = get_project_context(request, project)
    verb = request.POST.get("do", "")
    if verb in LOOKED_AT:
        policy.require(actor, "run.view", where)
        return redirect(build_selection_url(request, where, verb))
    validate_choice("do", verb, [*LOOKED_AT, *VERBS], N_("{found!r} is nothing to do to runs."), required=True)
    policy.require(actor, "run.annotate", where)
    address, title, prepare = VERBS[verb]
    ids, (body, act) = parse_ids(request), prepare(actor, request)

    def get_run_url(pk: str) -> str:
        return reverse("experiments:detail", args=[where.slug, pk]) if queries.RUN_ID.fullmatch(pk) else ""

    def run_action(pk: str) -> Done:
        run = queries.get_run(actor, where, pk)
        return Done(f"{run.name} {run.pk[:8]}", get_run_url(pk), act(run))

    outcomes = run_bulk_action(actor, ids, run_action, request=request, name=lambda pk: pk[:8], page=get_run_url)
    back = get_return_url(request, reverse("experiments:list", args=[where.slug]))
    context = build_result_context(outcomes, title=str(title), back=back)
    calls = {"address": address, "ids": ids, "body": body}
    return render(request, "experiments/bulk.html", {**context, "nav": "runs", "calls": calls})


def build_selection_url(request: HttpRequest, project: Project, verb: str) -> str:
    """Build the URL of the comparison, or of the points CSV, of the selected runs."""
    ids = ",".join(parse_ids(request))
    if verb == "compare":
        return f"{reverse('experiments:compare', args=[project.slug])}?{urlencode({'ids': ids}, safe=',')}"
    if verb == "charts":
        return f"{reverse('experiments:panels', args=[project.slug])}?{urlencode({'selected': ids}, safe=',')}"
    query = urlencode({"ids": ids, "key": request.POST.get("key", "")}, safe=",")
    return f"{reverse('api-runs-csv', args=[project.slug])}?{query}"


def prepare_tagging(actor: Actor, request: HttpRequest) -> tuple[dict[str, Any], Act]:
    key, value = request.POST.get("key_of_tag", ""), request.POST.get("value_of_tag", "")
    annotations.check_key(key)
    annotations.check_value(value, field="value")

    def apply_tag(run: Run) -> str:
        annotations.set_run_tag(actor=actor, run=run, key=key, value=value)
        return f"{key}: {value}"

    return {"key": key, "value": value}, apply_tag


def prepare_deletion(actor: Actor, request: HttpRequest) -> tuple[None, Act]:
    reason = request.POST.get("reason", "").strip()[:REASON_LIMIT]
    if not reason:
        raise Invalid("Say why: it goes into the audit trail.", field="reason", limit=f"1..{REASON_LIMIT}")

    def delete_run(run: Run) -> str:
        annotations.delete_run(actor=actor, run=run, reason=reason)
        return _("Deleted")

    return None, delete_run


def prepare_restore(actor: Actor, request: HttpRequest) -> tuple[None, Act]:
    def restore_run(run: Run) -> str:
        annotations.restore_run(actor=actor, run=run)
        return _("Restored")

    return None, restore_run


VERBS: dict[str, tuple[str, Any, Callable[[Actor, HttpRequest], tuple[dict[str, Any] | None, Act]]]] = {
    "tag": ("api-run-tags", gettext_lazy("Tag runs"), prepare_tagging),
    "delete": ("api-run-delete", gettext_lazy("Delete runs"), prepare_deletion),
    "restore": ("api-run-restore", gettext_lazy("Restore runs"), prepare_restore),
}


@require_safe
def suggest_completions(request: HttpRequest, project: str) -> HttpResponse:
    """What may come next in a filter: {start, end, options: [{text, label, told}]}."""
    actor, where = get_project_context(request, project)
    cursor = parse_int(request.GET.get("at"), 0, completion.TEXT_LIMIT)
    text = request.GET.get("filter", "")
    completion_result = completion.complete_filter(
        actor, where, text, completion.TEXT_LIMIT if cursor is None else cursor
    )
    answer = JsonResponse(asdict(completion_result))
    answer["Cache-Control"] = "no-store"
    return answer
