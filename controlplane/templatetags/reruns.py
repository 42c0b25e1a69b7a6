"""What the pages of runs say of reruns, whose app stands above theirs. `{% load reruns %}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.template.context import Context
from django.urls import reverse

from apps.errors import PlaneError
from apps.experiments.models import Run
from apps.policy import allows
from apps.reruns import reads
from apps.reruns.tolerance import Tolerance
from apps.reruns.verdicts import POINTS_PER_PAGE, verdict_between
from apps.reruns.views import document_context
from controlplane.templatetags.places import actor_in

register = template.Library()
SHOWN = 5


@register.simple_tag(takes_context=True)
def run_reruns(context: Context, run: Run) -> dict[str, Any]:
    """`of`: the rerun that this run is; `rows`: the newest made of it; `more`: there are others. One query."""
    own, rows = reads.reruns_around(actor_in(context), run, SHOWN + 1)
    return {"of": own, "rows": rows[:SHOWN], "more": len(rows) > SHOWN}


@register.simple_tag(takes_context=True)
def may_rerun(context: Context, run: Run) -> bool:
    """Whether the button stands there: for a run of a job that ended and was not deleted, and whoever may queue one."""
    there = run.job_id is not None and run.ended and run.deleted_at is None
    return there and allows(actor_in(context), "run.rerun", run)


@register.simple_tag(takes_context=True)
def verdict_on_two(context: Context, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict on the second of two compared runs beside the first; empty for more, other kinds, open ones."""
    if len(runs) != 2:
        return {}
    first, second = (entry["run"] for entry in runs)
    tolerance = Tolerance()
    try:
        document = verdict_between(
            actor=actor_in(context), run=second, against=first, tolerance=tolerance, points=POINTS_PER_PAGE
        )
    except PlaneError:  # they cannot be judged; what the page compares says why
        return {}
    url = reverse("api-run-verdict", args=[context["request"].project.slug, second.pk])
    return {
        **document_context(document),
        "was": first.pk[:8],
        "now": second.pk[:8],
        "url": f"{url}?against={first.pk}",
    }
