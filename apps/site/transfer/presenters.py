"""How pages show bundles: the colours of states, and what comes next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from apps.site.transfer.queries import count_ahead
from apps.site.transfer.states import IncomingState, OutgoingState, SignerState

OUTGOING_COLOURS = {
    OutgoingState.QUEUED: "queued",
    OutgoingState.BUILT: "pass",
    OutgoingState.FAILED: "failed",
    OutgoingState.CANCELLED: "cancelled",
    OutgoingState.REMOVED: "cancelled",
}
INCOMING_COLOURS = {
    IncomingState.RECEIVING: "waiting",
    IncomingState.CHECKING: "running",
    IncomingState.CHECKED: "held",
    IncomingState.REFUSED: "failed",
    IncomingState.APPROVED: "running",
    IncomingState.APPLIED: "pass",
    IncomingState.DISCARDED: "cancelled",
}
SIGNER_COLOURS = {SignerState.PROPOSED: "held", SignerState.TRUSTED: "pass", SignerState.REVOKED: "cancelled"}
CHANGE_COLOURS = {"new": "pass", "present": "queued", "conflict": "failed"}


def describe_next_step(bundle: IncomingBundle, missing: list[int]) -> str:
    """The sentence under the title: what happened, or what is to be done."""
    state = IncomingState(bundle.state)
    if state == IncomingState.RECEIVING and missing:
        return _("Send the volumes that are missing: %(numbers)s.") % {"numbers": ", ".join(map(str, missing[:20]))}
    if state == IncomingState.APPROVED and bundle.error:
        return _("Approved. Loading is tried again later, under the same approval.")
    if state == IncomingState.CHECKING and bundle.error:
        return _("The check could not go on, and is tried again later.")
    sentences = {
        IncomingState.RECEIVING: _("All volumes are in quarantine. Check the bundle next."),
        IncomingState.CHECKING: _("Every byte is verified and scanned. This page can be left."),
        IncomingState.CHECKED: _("Nothing is applied yet. Read the preview, then request approval."),
        IncomingState.REFUSED: _("Refused. Send the right volume again, or discard it."),
        IncomingState.APPROVED: _("Approved. It is being loaded."),
        IncomingState.APPLIED: _("Applied."),
        IncomingState.DISCARDED: _("Discarded: its files are removed."),
    }
    return sentences[state]


def describe_stage(name: str) -> str:
    return {
        "plan": _("Collecting rows"),
        "write": _("Writing volumes"),
        "verify": _("Verifying volumes"),
        "scan": _("Scanning for malware"),
        "compare": _("Comparing with this plane"),
        "store": _("Storing objects"),
        "rows": _("Writing rows"),
    }.get(name, name)


def describe_step(bundle: OutgoingBundle | IncomingBundle) -> dict[str, Any]:
    """How far the step of a bundle is: stage, bytes, bytes a second, seconds left; or what it waits for."""
    row = bundle.progress
    done, total = row.get("done", 0), row.get("total", 0)
    seconds = 0.0
    if "since" in row and "at" in row:
        seconds = (datetime.fromisoformat(row["at"]) - datetime.fromisoformat(row["since"])).total_seconds()
    rate = done / seconds if done and seconds > 0 else 0.0
    waits = bundle.retry_at is not None and bundle.retry_at > timezone.now()
    return {
        "stage": describe_stage(row["stage"]) if "stage" in row else "",
        "done": done,
        "total": total,
        "rate": rate,
        "eta_seconds": (total - done) / rate if rate and total else None,
        "ahead": 0 if row else count_ahead(bundle),
        "retry_at": bundle.retry_at if waits and not row else None,
        "faults": bundle.faults,
    }


def list_preview_rows(bundle: IncomingBundle) -> list[dict[str, Any]]:
    words = {"new": _("New"), "present": _("Already here"), "conflict": _("Conflict")}
    return [
        {**row, "colour": CHANGE_COLOURS[row["change"]], "word": words[row["change"]]}
        for row in bundle.preview.get("rows", [])
    ]
