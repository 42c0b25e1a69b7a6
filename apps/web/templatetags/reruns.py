"""What the pages of runs say of reruns, whose app stands above theirs. `{% load reruns %}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.template.context import Context
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from apps.core.errors import PlaneError
from apps.core.policy import is_allowed
from apps.ml.experiments.models import Run
from apps.ml.reruns import queries
from apps.ml.reruns.tolerance import Tolerance
from apps.ml.reruns.verdicts import POINTS_PER_PAGE, verdict_between
from apps.ml.reruns.views import document_context
from apps.web.templatetags.charts import figure
from apps.web.templatetags.object_links import actor_in

register = template.Library()
SHOWN, MOST = 5, 200


@register.filter
def measured(value: Any) -> str:
    """A value of a verdict: of a number a few digits, all of them as its title; a text as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_html('<span title="{}">{}</span>', repr(value), figure(value))
    if value == "":
        return format_html('<span class="quiet">{}</span>', _("empty"))
    return "–" if value is None else str(value)


@register.simple_tag(takes_context=True)
def run_reruns(context: Context, run: Run) -> dict[str, Any]:
    """`of`: the rerun that this run is; `rows`: the newest made of it, a few unless the address asks for `all`; `more`:
    there are others. One query.
    """
    every = context["request"].GET.get("reruns") == "all"
    most = MOST if every else SHOWN
    own, rows = queries.reruns_around(actor_in(context), run, most + 1)
    return {"of": own, "rows": rows[:most], "more": len(rows) > most, "all": every}


@register.simple_tag(takes_context=True)
def may_rerun(context: Context, run: Run) -> bool:
    """Whether the button stands there: for a run of a job that ended and was not deleted, and whoever may queue one."""
    there = run.job_id is not None and run.ended and run.deleted_at is None
    return there and is_allowed(actor_in(context), "run.rerun", run)


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
    told = document_context(document)
    return {
        **told,
        "inputs": [one for one in told["inputs"] if one["kind"] != "spec"],  # the page tells its params itself
        "was": first.pk[:8],
        "now": second.pk[:8],
        "url": f"{url}?against={first.pk}",
    }
