"""One evidence run from its claim to its end: the probes, the verdicts, the folder."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.platform.artifacts.local_store import translate_disk_errors
from apps.site.compliance.assessment import ClauseVerdict, evaluate_clauses
from apps.site.compliance.folder.writer import EvidenceFolder, require_target, write_evidence, zip_folder
from apps.site.compliance.models import Attachment, EvidenceRun
from apps.site.compliance.probes.outcomes import ProbeOutcome, describe_fault
from apps.site.compliance.probes.registry import run_probes
from apps.site.compliance.services import claim_run, fail_run, finish_run, recover_runs, start_run, store_folder
from apps.site.compliance.services.runs import LOST_AFTER

PREFIX = "evidence-"


def make_evidence(*, actor: Actor, target: Path) -> tuple[EvidenceRun, EvidenceFolder]:
    """Run every probe now and write the folder to `target`. Raises PlaneError; then nothing is half written."""
    require_target(target)
    recover_runs(actor=actor)
    with translate_disk_errors():
        return perform_run(actor, start_run(actor=actor), target)


def perform_run(actor: Actor, run: EvidenceRun, target: Path) -> tuple[EvidenceRun, EvidenceFolder]:
    """Probe, judge, keep and write. A fault ends the run as failed and is raised."""
    try:
        outcomes, verdicts = assess()
        run = finish_run(actor=actor, run=run, outcomes=outcomes, verdicts=verdicts)
    except BaseException as fault:
        fail_run(actor=actor, run=run, error=describe_fault(fault))
        raise
    return run, write_evidence(actor=actor, run=run, outcomes=outcomes, verdicts=verdicts, target=target)


def assess() -> tuple[list[ProbeOutcome], list[ClauseVerdict]]:
    """Every probe, and the verdict of every clause."""
    outcomes = list(run_probes())
    attachments = Attachment.objects.filter(withdrawn_at=None).select_related("artifact").order_by("id")
    return outcomes, evaluate_clauses(outcomes, attachments, timezone.localdate())


def run_queued(actor: Actor) -> int:
    """Make the runs that were asked for, and keep the folder of each in the store; returns how many."""
    count = 0
    recover_runs(actor=actor)
    sweep_folders(Path(settings.PLANE_HOME))
    while (run := claim_run(actor=actor)) is not None:
        count += 1
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=settings.PLANE_HOME) as place:
            try:
                with translate_disk_errors():
                    run, folder = perform_run(actor, run, Path(place, "evidence"))
                    archive = Path(place, "evidence.zip")
                    zip_folder(folder, archive)
                    store_folder(actor=actor, run=run, archive=archive)
            except PlaneError as fault:
                EvidenceRun.objects.filter(pk=run.pk).update(error=str(fault.message)[:500])
    return count


def sweep_folders(home: Path) -> None:
    """Remove what runs left whose process was killed: each has a copy of the audit trail."""
    oldest = time.time() - LOST_AFTER.total_seconds()
    for folder in home.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.is_dir() and folder.stat().st_mtime <= oldest:
                shutil.rmtree(folder)
