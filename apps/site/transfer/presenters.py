"""How pages show bundles: the colours of states, and what comes next."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from apps.site.transfer.models import IncomingBundle
from apps.site.transfer.states import IncomingState, OutgoingState, SignerState

OUTGOING_COLOURS = {
    OutgoingState.QUEUED: "queued",
    OutgoingState.BUILT: "pass",
    OutgoingState.FAILED: "failed",
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
        return _("Approved. Loading is tried again every minute, under the same approval.")
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


def list_preview_rows(bundle: IncomingBundle) -> list[dict[str, Any]]:
    words = {"new": _("New"), "present": _("Already here"), "conflict": _("Conflict")}
    return [
        {**row, "colour": CHANGE_COLOURS[row["change"]], "word": words[row["change"]]}
        for row in bundle.preview.get("rows", [])
    ]
