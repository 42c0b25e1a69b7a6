"""Shapes for the pages of federation: what runs, what leaves, rounds, and quality per site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from apps.ml.federation.facts import read_spec
from apps.ml.federation.models import LedgerEntry, RoundResult, SiteStudy, Study
from apps.ml.federation.states import SiteState, SiteStudyState, StudyState
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.spec import ColumnRule

Row = dict[str, Any]
STUDY_COLOURS = {
    StudyState.DRAFT: "queued",
    StudyState.OPEN: "queued",
    StudyState.RUNNING: "running",
    StudyState.COMPLETED: "succeeded",
    StudyState.STOPPED: "cancelled",
}
SITE_COLOURS = {SiteState.INVITED: "queued", SiteState.JOINED: "succeeded", SiteState.LEFT: "cancelled"}
SITE_STUDY_COLOURS = {
    SiteStudyState.IMPORTED: "queued",
    SiteStudyState.APPROVED: "succeeded",
    SiteStudyState.RUNNING: "running",
    SiteStudyState.COMPLETED: "succeeded",
    SiteStudyState.LEFT: "cancelled",
    SiteStudyState.VOID: "held",
}
ENTRY_COLOURS = {"update": "succeeded", "evaluation": "succeeded", "refused": "failed"}
ENTRY_LABELS = {
    "join": pgettext_lazy("ledger", "Join"),
    "update": pgettext_lazy("ledger", "Update"),
    "skip": pgettext_lazy("ledger", "Skip"),
    "evaluation": pgettext_lazy("ledger", "Evaluation"),
    "leave": pgettext_lazy("ledger", "Leave"),
    "refused": pgettext_lazy("ledger", "Refused"),
}
NO_FIGURE = "–"
WAYS = ("local", "federated", "pooled")


def list_study_rows(rows: Sequence[Study]) -> list[Row]:
    return [{"study": row, "colour": STUDY_COLOURS[StudyState(row.state)]} for row in rows]


def list_site_study_rows(rows: Sequence[SiteStudy]) -> list[Row]:
    return [{"study": row, "colour": SITE_STUDY_COLOURS[SiteStudyState(row.state)]} for row in rows]


def describe_study(document: Mapping[str, Any]) -> Row:
    """What will run, of a study document."""
    spec = read_spec(dict(document))
    return {
        "document": document,
        "columns": [describe_column(column) for column in spec.schema_.columns],
        "target": spec.schema_.target,
        "parameters": spec.parameters,
        "update_bytes": spec.update_bytes,
        "total_bytes": spec.update_bytes * min(spec.rounds, spec.egress.max_updates),
        "code_differs": spec.code_digest != compute_study_code_digest(),
    }


def describe_column(column: ColumnRule) -> Row:
    limits = f"{column.low:g} – {column.high:g}" if column.kind == "number" else ", ".join(column.categories)
    return {"name": column.name, "kind": _("number") if column.kind == "number" else _("category"), "limits": limits}


def list_code_files(code: Mapping[str, str]) -> list[Row]:
    return [{"name": name, "text": text, "lines": text.count("\n")} for name, text in sorted(code.items())]


def list_round_rows(rows: Sequence[RoundResult]) -> list[Row]:
    return [
        {
            "round": row,
            "metrics": [(name, describe_metric(value)) for name, value in sorted(row.metrics.items()) if value != []],
            "epsilon": format_figure(row.epsilon),
        }
        for row in rows
    ]


def describe_metric(value: Any) -> str:
    """A figure, figures by site, or names of sites, in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {format_figure(each)}" for name, each in sorted(value.items())) or "–"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return format_figure(value)


def list_ledger_rows(entries: Sequence[LedgerEntry]) -> list[Row]:
    return [
        {
            "entry": row,
            "colour": ENTRY_COLOURS.get(row.kind, "queued"),
            "label": ENTRY_LABELS.get(row.kind, row.kind),
            "norm": format_figure(row.norm),
            "epsilon": format_figure(row.epsilon),
        }
        for row in entries
    ]


def list_comparison_rows(result: Mapping[str, Any]) -> list[Row]:
    """Local, federated and pooled quality of each site with intervals, from federation.json.

    A site that reported nothing has dashes; what is not shaped as expected is left out rather than a fault.
    """
    sites = result.get("sites")
    rows = []
    for site in sites if isinstance(sites, list) else ():
        if isinstance(site, Mapping):
            metrics = site.get("metrics")
            ways = metrics if isinstance(metrics, Mapping) else {}
            cells = [format_interval(ways.get(way)) for way in WAYS]
            rows.append({"site": str(site.get("name", "")), "cells": cells, "updates": site.get("updates")})
    return sorted(rows, key=lambda row: str(row["site"]))


def format_interval(value: Any) -> str:
    """`0.812 (0.770–0.851)` of {"value", "low", "high"}; a dash where there is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("value"), int | float):
        return NO_FIGURE
    low, high = value.get("low"), value.get("high")
    if isinstance(low, int | float) and isinstance(high, int | float):
        return f"{value['value']:.3f} ({low:.3f}–{high:.3f})"
    return f"{value['value']:.3f}"


def format_figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else NO_FIGURE


def describe_next_step(row: SiteStudy, *, is_pending: bool) -> str:
    """What the page of a site's study says first: what is to be done now."""
    state = SiteStudyState(row.state)
    if state == SiteStudyState.LEFT:
        return _("This site has left: nothing more leaves.")
    if state == SiteStudyState.COMPLETED:
        return _("The study is completed.")
    if state == SiteStudyState.RUNNING and has_stopped(row.job):
        return _("Its job has stopped: look at it, then retry it there, or leave the study.")
    if state == SiteStudyState.RUNNING:
        return _("This site trains and sends updates within the egress rule.")
    if state == SiteStudyState.APPROVED and not row.certificate:
        return _("Send the enrolment request to the coordinator, and import the certificate that comes back.")
    if state == SiteStudyState.APPROVED:
        return _("Join the study.")
    if is_pending:
        return _("An approver decides whether this site takes part.")
    if row.data_id is None:
        return _("Compare the fingerprint with the coordinator, then choose the data of this site.")
    if state == SiteStudyState.VOID:
        return _("The approval is void: request it again on what stands now.")
    return _("Request the approval of this site.")


def has_stopped(job: Job | None) -> bool:
    """Whether the job of a study that runs has ended without its end: only a retry goes on from there."""
    return job is not None and job.state in (JobState.FAILED, JobState.CANCELLED)


def describe_study_step(study: Study, joined: int) -> str:
    """What the page of a study says first."""
    least = study.document["minimum_sites"]
    if study.state == StudyState.DRAFT:
        return _("Invite the sites.")
    if study.state == StudyState.OPEN and joined < least:
        return _("%(joined)s of at least %(least)s sites have joined.") % {"joined": joined, "least": least}
    if study.state == StudyState.OPEN:
        return _("Start the study once all its sites have joined.")
    if study.state == StudyState.RUNNING and has_stopped(study.job):
        return _("Its job has stopped: look at it, then retry it there, or stop the study.")
    if study.state == StudyState.RUNNING:
        return _("Rounds are running.")
    if study.state == StudyState.COMPLETED and study.result_version_id is None:
        return _("Register the result as a model version.")
    return _("The study has ended.")


def build_approval_context(facts: Mapping[str, Any]) -> Row:
    """Of federation/approval.html: everything from the facts that were asked for."""
    egress, privacy = facts["egress"], facts["privacy"]
    return {
        "facts": facts,
        "egress": egress,
        "privacy": privacy,
        "total_bytes": facts["model"]["update_bytes"] * min(facts["training"]["rounds"], egress["max_updates"]),
    }
