"""States of an evidence run, and verdicts of a clause."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models
from django.utils.translation import gettext_lazy as _


class RunState(models.TextChoices):
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")


OPEN_STATES = (RunState.QUEUED, RunState.RUNNING)
MOVES: dict[str, frozenset[str]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.FAILED}),
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED}),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
}


class Verdict(models.TextChoices):
    MET = "met", _("Met")
    PARTLY = "partly", _("Partly met")
    NOT_MET = "not met", _("Not met")
    NOT_APPLICABLE = "not applicable", _("Not applicable")


VERDICT_RANK = {Verdict.NOT_MET: 0, Verdict.PARTLY: 1, Verdict.MET: 2, Verdict.NOT_APPLICABLE: 2}
"""What is worse has the lower number."""


def combine_verdicts(verdicts: Iterable[str]) -> str:
    """Of a whole, by the verdicts of its parts: met where all are, not met where none is, else partly.

    A part that is not applicable does not count beside others that are; nothing at all is not met.
    """
    counted = list(verdicts)
    applicable = [verdict for verdict in counted if verdict != Verdict.NOT_APPLICABLE]
    if counted and not applicable:
        return Verdict.NOT_APPLICABLE
    if applicable and all(verdict == Verdict.MET for verdict in applicable):
        return Verdict.MET
    if all(verdict == Verdict.NOT_MET for verdict in applicable):
        return Verdict.NOT_MET
    return Verdict.PARTLY
