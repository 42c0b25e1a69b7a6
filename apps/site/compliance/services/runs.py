"""Evidence runs: asked for, taken by a process, ended with the verdict of every clause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, StaleState
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import adopt_for_plane, store_for_plane
from apps.platform.audit import services as audit
from apps.site.compliance.assessment import ClauseVerdict
from apps.site.compliance.models import ClauseResult, EvidenceRun
from apps.site.compliance.probes.outcomes import ProbeOutcome
from apps.site.compliance.queries import require_folder
from apps.site.compliance.states import OPEN_STATES, RunState, Verdict
from deepseek.messages import N_

LOST_AFTER = timedelta(minutes=15)  # a run takes less than one minute
CHUNK_BYTES = 1 << 20


def request_run(*, actor: Actor) -> EvidenceRun:
    """Queue a run, which the dispatcher's machine makes. Raises Conflict where one is open."""
    policy.require(actor, "compliance.request_run")
    with transaction.atomic():
        open_run = EvidenceRun.objects.filter(state__in=OPEN_STATES).first()
        if open_run is not None:
            raise Conflict(
                "Evidence run {number} is {state} already.",
                number=open_run.pk,
                state=open_run.state,
                code="evidence_run_open",
                field="run",
                hint=N_("Wait until it has ended."),
            )
        run = EvidenceRun.objects.create(requested_by=actor.label[:200])
        audit.record(actor=actor, action="compliance.request_run", obj=run)
    return run


def start_run(*, actor: Actor) -> EvidenceRun:
    """A run that its caller makes at once, whatever else is queued, or was left by a process that is gone: with the
    plane stopped nobody else would end that."""
    policy.require(actor, "compliance.run")
    with transaction.atomic():
        run = EvidenceRun.objects.create(requested_by=actor.label[:200])
        audit.record(actor=actor, action="compliance.request_run", obj=run)
        return audit.change_state(run, RunState.RUNNING, actor=actor, started_at=timezone.now())


def claim_run(*, actor: Actor) -> EvidenceRun | None:
    """Take the oldest queued run to make it; None where there is none, or where another process is faster."""
    policy.require(actor, "compliance.run")
    run: EvidenceRun | None = EvidenceRun.objects.filter(state=RunState.QUEUED).order_by("id").first()
    if run is None:
        return None
    try:
        return audit.change_state(run, RunState.RUNNING, actor=actor, started_at=timezone.now())
    except StaleState:
        return None  # request_run lets one run be open at a time: nothing else waits


def finish_run(
    *, actor: Actor, run: EvidenceRun, outcomes: Sequence[ProbeOutcome], verdicts: Iterable[ClauseVerdict]
) -> EvidenceRun:
    """Keep what the run found; a clause whose verdict is that of the run before keeps the time since when it is."""
    policy.require(actor, "compliance.run")
    now, rows = timezone.now(), list(verdicts)
    began = run.started_at or now
    previous = EvidenceRun.objects.filter(state=RunState.SUCCEEDED, id__lt=run.pk).order_by("-id").first()
    before = {row.clause: row for row in ClauseResult.objects.filter(run=previous)} if previous else {}
    counts = Counter(str(row.verdict) for row in rows)
    with transaction.atomic():
        ClauseResult.objects.bulk_create(
            ClauseResult(
                run=run,
                clause=row.clause.id,
                verdict=row.verdict,
                since=before[row.clause.id].since
                if row.clause.id in before and before[row.clause.id].verdict == row.verdict
                else began,
            )
            for row in rows
        )
        return audit.change_state(
            run,
            RunState.SUCCEEDED,
            actor=actor,
            ended_at=now,
            seconds=(now - began).total_seconds(),
            met=counts[Verdict.MET],
            partly=counts[Verdict.PARTLY],
            not_met=counts[Verdict.NOT_MET],
            not_applicable=counts[Verdict.NOT_APPLICABLE],
            probes=[outcome.to_dict() for outcome in outcomes],
        )


def fail_run(*, actor: Actor, run: EvidenceRun, error: str) -> EvidenceRun:
    """End a run that could not be made, with the reason."""
    policy.require(actor, "compliance.run")
    return audit.change_state(run, RunState.FAILED, actor=actor, ended_at=timezone.now(), error=error[:500])


def recover_runs(*, actor: Actor) -> int:
    """Fail the runs whose process is gone; returns how many."""
    policy.require(actor, "compliance.run")
    lost = list(EvidenceRun.objects.filter(state=RunState.RUNNING, started_at__lt=timezone.now() - LOST_AFTER)[:20])
    for run in lost:
        fail_run(actor=actor, run=run, error="its process ended without a result")
    return len(lost)


def open_folder(*, actor: Actor, run: EvidenceRun) -> Artifact:
    """The zip of the run's folder, to be read; recorded. Raises Conflict where there is none."""
    policy.require(actor, "compliance.export")
    artifact = require_folder(run).folder
    assert artifact is not None  # noqa: S101 - require_folder
    with transaction.atomic():
        audit.record(actor=actor, action="compliance.export", obj=run, digests={"folder": artifact.digest})
    return artifact


def store_folder(*, actor: Actor, run: EvidenceRun, archive: Path) -> EvidenceRun:
    """Keep the evidence folder of the run, as a zip, in the artifact store."""
    policy.require(actor, "compliance.run")
    with archive.open("rb") as file:
        stored = store_for_plane(actor=actor, stream=iter(lambda: file.read(CHUNK_BYTES), b""))
    with transaction.atomic():
        run.folder = adopt_for_plane(actor=actor, stored=stored)
        run.save(update_fields=["folder"])
        audit.record(actor=actor, action="compliance.store_folder", obj=run, digests={"folder": stored.digest})
    return run
