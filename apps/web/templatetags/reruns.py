"""What the pages of runs say of reruns, whose app stands above theirs. `{% load reruns %}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.template.context import Context
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.errors import PlaneError
from apps.core.html import format_html
from apps.core.policy import is_allowed
from apps.ml.experiments.models import Run
from apps.ml.registry.from_run.candidates import REGISTER
from apps.ml.reruns import queries
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.tolerance import Tolerance
from apps.ml.reruns.verdicts import POINTS_PER_PAGE, compare_pair
from apps.ml.reruns.views import build_document_context
from apps.ml.sweeps.services.requests import RUN_KIND as SWEEP_KIND
from apps.platform.jobs.input_sources import SOURCES
from apps.platform.jobs.states import JobState
from apps.web.templatetags.charts import format_figure
from apps.web.templatetags.object_links import get_actor

register = template.Library()
FORM_KINDS = {kind for kinds, _ in SOURCES[REGISTER].values() for kind in kinds}  # of jobs whose output is a form
DEFAULT_ROWS, MAX_ROWS = 5, 200


@register.filter
def format_measured(value: Any) -> str:
    """A value of a verdict: of a number a few digits, all of them as its title; a text as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_html('<span title="{}">{}</span>', repr(value), format_figure(value))
    if value == "":
        return format_html('<span class="quiet">{}</span>', _("empty"))
    return "–" if value is None else str(value)


@register.simple_tag(takes_context=True)
def run_reruns(context: Context, run: Run) -> dict[str, Any]:
    """`of`: the rerun that this run is; `rows`: the newest made of it, a few unless the address asks for `all`; `more`:
    there are others. One query.
    """
    every = context["request"].GET.get("reruns") == "all"
    most = MAX_ROWS if every else DEFAULT_ROWS
    own, rows = queries.list_related_reruns(get_actor(context), run, most + 1)
    return {"of": own, "rows": rows[:most], "more": len(rows) > most, "all": every}


@register.simple_tag(takes_context=True)
def can_rerun(context: Context, run: Run) -> bool:
    """Whether the button stands there: for a run of a job that ended and was not deleted, and whoever may queue one."""
    is_ended = run.job_id is not None and run.ended and run.deleted_at is None
    return is_ended and is_allowed(get_actor(context), "run.rerun", run)


@register.simple_tag(takes_context=True)
def can_register(context: Context, run: Run) -> bool:
    """Whether the button stands there: for a run that makes a model, and whoever may register one. No query."""
    makes_model = run.job is None or (run.kind in FORM_KINDS and run.job.state == JobState.SUCCEEDED)
    return makes_model and run.kind != SWEEP_KIND and is_allowed(get_actor(context), "model.record_version", run)


def is_rerun(run: Run, original: Run) -> bool:
    """Whether `run` was made as a rerun of `original`. One query at most."""
    return run.job_id is not None and Rerun.objects.filter(job=run.job_id, original=original.pk).exists()


@register.simple_tag(takes_context=True)
def compare_two_runs(context: Context, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict on the second of two compared runs beside the first: of a rerun at once, of any other two of a kind
    where the address asks for it. `offer`: it can be asked for. Empty for more runs, other kinds, open ones."""
    if len(runs) != 2:
        return {}
    first, second = (entry["run"] for entry in runs)
    if not is_rerun(second, first) and context["request"].GET.get("verdict") != "1":
        return {"offer": first.kind == second.kind != "" and first.ended and second.ended}
    tolerance = Tolerance()
    try:
        document = compare_pair(
            actor=get_actor(context), run=second, against=first, tolerance=tolerance, points=POINTS_PER_PAGE
        )
    except PlaneError:  # they cannot be judged; what the page compares says why
        return {}
    url = reverse("api-run-verdict", args=[context["request"].project.slug, second.pk])
    summary = build_document_context(document)
    return {
        **summary,
        "inputs": [row for row in summary["inputs"] if row["kind"] != "spec"],  # the page tells its params itself
        "was": first.pk[:8],
        "now": second.pk[:8],
        "url": f"{url}?against={first.pk}",
    }
