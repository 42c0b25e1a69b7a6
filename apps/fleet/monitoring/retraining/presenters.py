"""Shapes for pages of retrainings: the steps of one with what came of each, the list of a monitor, and the evidence
that approvers see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from apps.core.messages import translate_message
from apps.fleet.monitoring.models import Retraining
from apps.fleet.monitoring.retraining.states import RetrainingState
from apps.ml.registry.evaluations.sets import format_set_reference
from apps.platform.approvals.models import Approval

R = RetrainingState
Row = dict[str, Any]
COLOURS: Mapping[str, str] = {
    R.QUEUED: "waiting",
    R.COLLECTING: "running",
    R.TRAINING: "running",
    R.EVALUATING: "running",
    R.REQUESTING: "running",
    R.AWAITING_APPROVAL: "held",
    R.APPROVED: "succeeded",
    R.REJECTED: "cancelled",
    R.FAILED: "failed",
    R.CANCELLED: "cancelled",
    R.REFUSED: "cancelled",
}
ORDER = (R.QUEUED, R.COLLECTING, R.TRAINING, R.EVALUATING, R.REQUESTING, R.AWAITING_APPROVAL)


def describe_retraining(retraining: Retraining) -> Row:
    return {
        "retraining": retraining,
        "colour": COLOURS[retraining.state],
        "word": retraining.get_state_display(),
        "reason": translate_message(retraining.state_reason),
        "version": retraining.version,
    }


def describe_steps(retraining: Retraining) -> list[Row]:
    """Every step with its colour, what came of it and where that is; the one that it stopped at has the reason."""
    slug, place = retraining.project.slug, find_place(retraining)
    steps = [
        (_("Fresh data"), describe_period(retraining), ""),
        (_("Training data"), *describe_data(retraining, slug)),
        (pgettext("retraining", "Training"), *describe_pipeline(retraining, slug)),
        (_("Evaluation"), *describe_version(retraining, slug)),
        (_("Approval"), *describe_approval(retraining, slug)),
    ]
    return [
        {"label": label, "text": text, "url": url, **describe_step(retraining, number, place)}
        for number, (label, text, url) in enumerate(steps)
    ]


def find_place(retraining: Retraining) -> int:
    """The number of the step that it is in, or ended in; beyond the last where every one is done."""
    if retraining.state in ORDER:
        return min(ORDER.index(RetrainingState(retraining.state)), 4)
    if retraining.state == R.APPROVED:
        return 5
    data = retraining.data_job_id or retraining.data_id
    reached = (data, retraining.pipeline_id, retraining.version_id, retraining.approval_id)
    return sum(value is not None for value in reached)


def describe_step(retraining: Retraining, number: int, place: int) -> Row:
    if number < place:
        return {"colour": "succeeded", "word": _("Done")}
    if number > place or retraining.state == R.REFUSED:
        return {"colour": "waiting", "word": _("Not begun")}
    return {"colour": COLOURS[retraining.state], "word": retraining.get_state_display()}


def describe_period(retraining: Retraining) -> str:
    if dataset := retraining.settings.get("dataset"):
        return _("the newest version of %(dataset)s") % {"dataset": dataset}
    rows = retraining.settings.get("min_rows")
    return _("at least %(rows)s labelled answers") % {"rows": f"{rows:,}"} if rows else ""


def describe_data(retraining: Retraining, slug: str) -> tuple[str, str]:
    """The version, or the job that makes it."""
    data, job = retraining.data, retraining.data_job_id
    if data is not None:
        return str(data), reverse("datasets:version", args=[slug, data.dataset.name, data.number])
    if job is not None:
        return _("job %(number)s") % {"number": job}, reverse("jobs:detail", args=[slug, job])
    return "", ""


def describe_pipeline(retraining: Retraining, slug: str) -> tuple[str, str]:
    pk = retraining.pipeline_id
    if pk is None:
        return "", ""
    return _("pipeline %(number)s") % {"number": pk}, reverse("pipelines:detail", args=[slug, pk])


def describe_version(retraining: Retraining, slug: str) -> tuple[str, str]:
    version = retraining.version
    if version is None:
        return "", ""
    return str(version), link_version(slug, version.model.name, version.number)


def link_version(slug: str, model: str, number: int) -> str:
    try:
        return reverse("registry:version", args=[slug, model, number])
    except NoReverseMatch:
        return ""


def describe_approval(retraining: Retraining, slug: str) -> tuple[str, str]:
    approval = retraining.approval
    if approval is None:
        return "", ""
    words = _("approval %(number)s, %(state)s") % {"number": approval.pk, "state": approval.get_state_display()}
    return words, reverse("approvals:detail", args=[slug, approval.pk])


def describe_alarm_retraining(retraining: Retraining | None) -> Row | None:
    """What the page of an alarm shows of what it began; None where that is nothing."""
    if retraining is None:
        return None
    return {
        **describe_retraining(retraining),
        "steps": describe_steps(retraining),
        "sets": list_comparisons(retraining.facts),
        "fresh": format_set_reference(retraining.fresh_set) if retraining.fresh_set else "",
    }


# -- evaluations ----------------------------------------------------------------------------------------------------
def list_comparisons(facts: Mapping[str, Any]) -> list[Row]:
    """{set, kind, metric, former, version} of every set, by its primary metric, the fresh rows first."""
    sets = facts.get("sets", {})
    rows = [
        {
            "set": name,
            "is_fresh": row["kind"] == "fresh",
            "metric": row["metric"],
            "former": format_result(row["former"], row["metric"]),
            "version": format_result(row["version"], row["metric"]),
            "rows": (row["version"] or row["former"] or {}).get("rows"),
        }
        for name, row in sets.items()
    ]
    return sorted(rows, key=lambda row: (not row["is_fresh"], row["set"]))


def format_result(side: Mapping[str, Any] | None, metric: str) -> str:
    """A value with its interval; "" where it was not measured."""
    result = (side or {}).get("metrics", {}).get(metric)
    if result is None or result["value"] is None:
        return ""
    if result["low"] is None or result["high"] is None:
        return f"{result['value']:.4g}"
    return _("%(value)s (%(low)s to %(high)s)") % {name: f"{result[name]:.4g}" for name in ("value", "low", "high")}


def build_evidence_context(approval: Approval, evidence: Mapping[str, Any]) -> Row:
    """Of the approval's page, from the facts as they were requested."""
    slug = approval.project.slug
    return {
        "alarm": evidence["alarm"],
        "alarm_url": reverse("monitoring:alarm", args=[slug, evidence["alarm"]]),
        "monitor": evidence["monitor"],
        "former": evidence["former"]["version"],
        "data": evidence["data"],
        "digest": evidence["evidence"],
        "sets": list_comparisons(evidence),
    }


def list_retraining_rows(retrainings: Sequence[Retraining]) -> list[Row]:
    return [describe_retraining(each) for each in retrainings]
