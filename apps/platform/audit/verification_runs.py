"""Verifications that somebody asks for: queued at once, walked by the dispatcher, which has checkpoints and key.

A walk takes a second for every twenty thousand records, so no web process waits for one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.audit.models import VerificationRun
from apps.platform.audit.queries import get_last_verification
from apps.platform.audit.services import record, seal_now
from apps.platform.audit.verification import Verification, verify_recent, verify_trail

LOST = timedelta(minutes=1)  # without a beat: whoever walked it is gone, and another one begins anew


class Interrupted(Exception):
    """The walk is not to go on: the dispatcher stops, or another one has taken it over."""


def request_verification(*, actor: Actor) -> tuple[VerificationRun, Verification | None]:
    """Queue a verification of the whole trail, or join the one that is open; and verify at once what came after the
    last one. None where there is none to go on from.
    """
    require(actor, "audit.verify")
    last = get_last_verification()
    recent = verify_recent(actor=actor, seq=last.seq, head=last.head) if last is not None and last.whole else None
    with transaction.atomic():
        run = get_open_run()
        if run is None:
            run = VerificationRun.objects.create(asked_by=actor.label)
            record(actor=actor, action="audit.request_verification", obj=run)
            seal_now()
    return run, recent


def get_open_run() -> VerificationRun | None:
    return VerificationRun.objects.filter(ended_at=None).order_by("pk").first()


def run_queued_verification(actor: Actor, *, stopping: Callable[[], bool] = lambda: False) -> VerificationRun | None:
    """One round of the dispatcher: walk what was asked for first. Returns it, or None when there is nothing to do."""
    require(actor, "audit.verify")
    run = claim_run()
    if run is None:
        return None
    mine = VerificationRun.objects.filter(pk=run.pk, attempt=run.attempt, ended_at=None)

    def report(walked: int, until: int) -> None:
        if stopping() or not mine.update(walked=walked, until=until, beat_at=Now()):
            raise Interrupted

    try:
        verification = verify_trail(actor=actor, asked_by=run.asked_by, report=report)
    except Interrupted:
        mine.update(beat_at=None)  # the next one need not wait until it is taken for lost
        return None
    mine.update(
        ended_at=Now(),
        walked=verification.sealed,
        until=verification.sealed,
        whole=verification.whole,
        finding=str(verification.finding or "")[:1000],
        seconds=verification.seconds,
    )
    run.refresh_from_db()
    return run


def claim_run() -> VerificationRun | None:
    """The oldest open run that nobody walks, by compare-and-set on its attempt."""
    free = Q(beat_at=None) | Q(beat_at__lt=Now() - LOST)
    run = VerificationRun.objects.filter(free, ended_at=None).order_by("pk").first()
    if run is None:
        return None
    claimed = VerificationRun.objects.filter(pk=run.pk, attempt=run.attempt, ended_at=None)
    if not claimed.update(attempt=F("attempt") + 1, beat_at=Now(), walked=0):
        return None
    run.refresh_from_db()
    return run
