"""Compliance in words: verdicts, attempts, and the figures of the first line."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from apps.site.compliance.clauses import CONTROLS
from apps.site.compliance.queries import ClauseStatus
from apps.site.compliance.states import Verdict
from apps.site.compliance.texts import choose_text

LAMPS = {
    Verdict.MET: "succeeded",
    Verdict.PARTLY: "held",
    Verdict.NOT_MET: "failed",
    Verdict.NOT_APPLICABLE: "note",
}
"""The state by whose colour and sign a verdict is drawn."""


def describe_verdict(verdict: str) -> str:
    return str(Verdict(verdict).label) if verdict in Verdict.values else verdict


def build_clause_row(status: ClauseStatus) -> dict[str, Any]:
    """A clause as a line of the table."""
    failing = [describe_attempt(attempt) for attempt in status.failing]
    if status.clause.document is not None and not status.documents:
        failing.append(_("No valid document: %(document)s") % {"document": status.clause.document})
    return {
        "status": status,
        "id": status.clause.id,
        "summary": str(status.clause.summary),
        "lamp": LAMPS[Verdict(status.verdict)],
        "word": describe_verdict(status.verdict),
        "failing": failing,
        "first": failing[0] if failing else "",
        "more": max(len(failing) - 1, 0),
    }


def describe_attempt(attempt: dict[str, Any]) -> str:
    """What was tried, and the answer."""
    text = choose_text(attempt["text"])
    return f"{text} ({attempt['detail']})" if attempt["detail"] else text


def build_outcomes(names: tuple[str, ...], probes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The outcomes of the probes of a clause, as its page lists them."""
    by_name = {outcome["name"]: outcome for outcome in probes}
    return [
        {
            "name": name,
            "lamp": LAMPS[Verdict(by_name[name]["verdict"])],
            "word": describe_verdict(by_name[name]["verdict"]),
            "reason": choose_text(by_name[name]["reason"]) if by_name[name]["reason"] else "",
            "attempts": [
                {"text": choose_text(each["text"]), "holds": each["holds"], "detail": each["detail"]}
                for each in by_name[name]["attempts"]
            ],
        }
        for name in names
        if name in by_name
    ]


def group_by_control(rows: list[dict[str, Any]]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """(number, title, clauses) of each control that has any."""
    groups = []
    for number, title in CONTROLS.items():
        members = [row for row in rows if row["status"].clause.control == number]
        if members:
            groups.append((number, str(title), members))
    return groups


def build_gap_fields(values: dict[str, str], errors: dict[str, str]) -> list[dict[str, Any]]:
    """The form of a gap."""
    return build_fields(
        (
            ("owner", _("Owner"), "text", _("The person who closes the gap."), True),
            ("due_on", _("Due"), "text", _("A day such as 2027-03-31."), True),
            ("note", _("Note"), "text", _("What will be done."), False),
        ),
        values,
        errors,
    )


def build_document_fields(values: dict[str, str], errors: dict[str, str]) -> list[dict[str, Any]]:
    """The form of a document, without its file."""
    return build_fields(
        (
            ("title", _("Title"), "text", "", True),
            ("owner", _("Owner"), "text", _("The person who keeps the document up to date."), True),
            ("dated_on", _("Date of the document"), "text", _("A day such as 2026-11-30."), True),
            ("expires_on", _("Valid until"), "text", _("At most two years after its date."), True),
        ),
        values,
        errors,
    )


def build_fields(
    fields: tuple[tuple[str, str, str, str, bool], ...], values: dict[str, str], errors: dict[str, str]
) -> list[dict[str, Any]]:
    return [
        {
            "pointer": name,
            "label": label,
            "control": control,
            "doc": doc,
            "value": values.get(name, ""),
            "error": errors.get(name, ""),
            "required": required,
        }
        for name, label, control, doc, required in fields
    ]
