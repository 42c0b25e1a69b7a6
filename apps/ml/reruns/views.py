"""Pages of reruns: the preflight with its form, and one rerun with its verdict."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.core.policy import is_allowed
from apps.ml.experiments.models import Run
from apps.ml.experiments.queries import get_run
from apps.ml.reruns import queries, services, verdict_text
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.preflight import run_preflight
from apps.ml.reruns.tolerance import ABSOLUTE, RELATIVE, build_tolerance, parse_tolerance_number
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline
from apps.platform.jobs.tabs import flatten_spec

FIELDS = ("relative", "absolute")
DEFAULTS = {"relative": f"{RELATIVE:g}", "absolute": f"{ABSOLUTE:g}".replace("e-0", "e-")}


@require_http_methods(["GET", "HEAD", "POST"])
def run_again(request: HttpRequest, project: str, run: str) -> HttpResponse:
    """/p/<slug>/runs/<id>/rerun: the record, what of it is not as it was, the question; POST asks for it."""
    actor, where = get_project_context(request, project)
    original = get_run(actor, where, run)
    typed, wrong = DEFAULTS, None
    if request.method == "POST":
        policy.require(actor, "run.rerun", original)
        typed = {name: request.POST.get(name, "")[:40] for name in FIELDS}
        try:
            tolerance = build_tolerance(*(parse_tolerance_number(typed[name], name) for name in FIELDS))
            rerun, _is_new = services.rerun_run(actor=actor, run=original, tolerance=tolerance)
        except Refused:
            raise
        except PlaneError as error:
            wrong = error
        else:
            messages.success(request, _("The run is made again as job %(number)s.") % {"number": rerun.job_id})
            return redirect("reruns:detail", project=where.slug, pk=rerun.pk)
    context = build_question_context(actor, original, typed, wrong)
    return render(request, "reruns/new.html", context, status=wrong.status if wrong else 200)


def build_question_context(actor: Actor, run: Run, typed: dict[str, str], wrong: PlaneError | None) -> dict[str, Any]:
    outlook = run_preflight(actor, run)
    faults = {str(item["field"]).rpartition("/")[2]: item for item in wrong.errors} if wrong else {}
    return {
        "nav": "runs",
        "run": run,
        "outlook": outlook,
        "refusals": outlook.refusal.errors if outlook.refusal else [],
        "rows": list(flatten_spec(outlook.spec)),
        "foreseen": verdict_text.add_labels([item.as_dict() for item in outlook.differing]),
        "typed": typed,
        "wrong": wrong if wrong and not outlook.refusal else None,
        "faults": faults,
        "body": {"tolerance": {"relative": RELATIVE, "absolute": ABSOLUTE}},
        "may": is_allowed(actor, "run.rerun", run),
    }


@require_safe
def rerun_page(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/reruns/<id>: the verdict, what differs of what went in and of what came out, who did what."""
    actor, where = get_project_context(request, project)
    rerun = queries.get_rerun(actor, where, pk)
    context = {
        "nav": "runs",
        "rerun": rerun,
        "original": rerun.original,
        "run": queries.get_rerun_run(rerun),
        "job": rerun.job,
        "foreseen": verdict_text.add_labels(rerun.foreseen),
        "events": get_timeline(actor, "rerun", rerun.pk),
        **build_verdict_context(rerun),
    }
    return render(request, "reruns/rerun.html", context)


def build_verdict_context(rerun: Rerun) -> dict[str, Any]:
    """The verdict as a page shows it, or why there is none."""
    if rerun.verdict:
        return build_document_context(rerun.document)
    return {"document": None, "failure": rerun.document}


def build_document_context(document: dict[str, Any]) -> dict[str, Any]:
    """What templates/reruns/document.html takes."""
    return {
        "document": document,
        "outcome": verdict_text.describe_outcome(document),
        "explanation": verdict_text.explain_verdict(document),
        "inputs": verdict_text.add_labels(document["inputs"]),
        "circumstances": verdict_text.add_labels(document["circumstances"]),
        "unrecorded": [verdict_text.translate_kind(kind) for kind in document["unrecorded"]],
    }
