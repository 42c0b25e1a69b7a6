"""Reads of compliance: the newest run, one clause with its history, documents and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, NotFound
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.states import ScheduleState
from apps.site.compliance.clauses import BY_ID, CLAUSES, Clause
from apps.site.compliance.models import Attachment, ClauseResult, EvidenceRun, Gap
from apps.site.compliance.states import OPEN_STATES, RunState, Verdict
from deepseek.messages import N_

MAX_HISTORY = 26  # runs on the page of a clause: half a year of weeks
MAX_TREND = 52


@dataclass(frozen=True, slots=True)
class ClauseStatus:
    """One clause in a run. `failing`: the attempts that were not refused."""

    clause: Clause
    verdict: str
    since: datetime | None
    gap: Gap | None
    failing: tuple[dict[str, Any], ...]
    attempts: int
    documents: int

    @property
    def is_gap(self) -> bool:
        return self.verdict in (Verdict.PARTLY, Verdict.NOT_MET)

    @property
    def is_overdue(self) -> bool:
        return self.is_gap and self.gap is not None and self.gap.due_on < timezone.localdate()


def list_runs(actor: Actor) -> QuerySet[EvidenceRun]:
    """Runs without the outcomes of their probes, which are long."""
    policy.require(actor, "compliance.view")
    return EvidenceRun.objects.visible_to(actor).defer("probes")


def get_run(actor: Actor, pk: int) -> EvidenceRun:
    """Raises NotFound."""
    policy.require(actor, "compliance.view")
    run: EvidenceRun | None = EvidenceRun.objects.visible_to(actor).filter(pk=pk).first()
    if run is None:
        raise NotFound("There is no evidence run {number}.", number=pk, field="run")
    return run


def get_newest_run(actor: Actor) -> EvidenceRun | None:
    """The newest run that has verdicts."""
    policy.require(actor, "compliance.view")
    return EvidenceRun.objects.visible_to(actor).filter(state=RunState.SUCCEEDED).order_by("-id").first()


def get_open_run(actor: Actor) -> EvidenceRun | None:
    policy.require(actor, "compliance.view")
    return EvidenceRun.objects.visible_to(actor).filter(state__in=OPEN_STATES).order_by("-id").first()


def get_clause(name: str) -> Clause:
    """Raises NotFound."""
    clause = BY_ID.get(name)
    if clause is None:
        raise NotFound("There is no clause {name!r}.", name=name[:40], field="clause")
    return clause


def list_clause_statuses(actor: Actor, run: EvidenceRun | None) -> list[ClauseStatus]:
    """Every clause as the run found it, in the order of the standard. Three queries."""
    policy.require(actor, "compliance.view")
    if run is None:
        return []
    results = {row.clause: row for row in ClauseResult.objects.filter(run=run)}
    gaps = {gap.clause: gap for gap in Gap.objects.visible_to(actor)}
    documents: dict[str, int] = {}
    for name in query_current_documents(timezone.localdate()).values_list("clause", flat=True):
        documents[name] = documents.get(name, 0) + 1
    probes = {outcome["name"]: outcome for outcome in run.probes}
    return [
        build_status(clause, results[clause.id], gaps.get(clause.id), probes, documents.get(clause.id, 0))
        for clause in CLAUSES
        if clause.id in results
    ]


def build_status(
    clause: Clause, result: ClauseResult, gap: Gap | None, probes: dict[str, Any], documents: int
) -> ClauseStatus:
    attempts = [attempt for name in clause.probes if name in probes for attempt in probes[name]["attempts"]]
    failing = tuple(attempt for attempt in attempts if not attempt["holds"])
    return ClauseStatus(clause, result.verdict, result.since, gap, failing, len(attempts), documents)


def query_current_documents(today: date) -> QuerySet[Attachment]:
    """Documents that count on this day."""
    return Attachment.objects.filter(withdrawn_at=None, dated_on__lte=today, expires_on__gte=today)


def list_documents(actor: Actor, clause: Clause | None = None) -> QuerySet[Attachment]:
    policy.require(actor, "compliance.view")
    rows = Attachment.objects.visible_to(actor).select_related("artifact").order_by("-id")
    return rows if clause is None else rows.filter(clause=clause.id)


def get_document(actor: Actor, pk: int) -> Attachment:
    """Raises NotFound."""
    row = list_documents(actor).filter(pk=pk).first()
    if row is None:
        raise NotFound("There is no document {number}.", number=pk, field="document")
    return row


def list_history(actor: Actor, clause: Clause) -> list[ClauseResult]:
    """The verdicts of a clause, the newest run first."""
    policy.require(actor, "compliance.view")
    rows = ClauseResult.objects.visible_to(actor).filter(clause=clause.id)
    return list(rows.select_related("run").defer("run__probes").order_by("-run_id")[:MAX_HISTORY])


def list_trend(actor: Actor) -> list[EvidenceRun]:
    """The newest runs that have verdicts, the oldest of them first."""
    runs = list_runs(actor).filter(state=RunState.SUCCEEDED).order_by("-id")[:MAX_TREND]
    return list(reversed(runs))


def get_gap(actor: Actor, clause: Clause) -> Gap | None:
    policy.require(actor, "compliance.view")
    return Gap.objects.visible_to(actor).filter(clause=clause.id).first()


def has_schedule(actor: Actor) -> bool:
    """Whether a schedule that is active makes evidence runs."""
    policy.require(actor, "compliance.view")
    return Schedule.objects.filter(project=None, target="evidence", state=ScheduleState.ACTIVE).exists()


def has_queued_run(actor: Actor) -> bool:
    """Whether a run waits for a process. One query by the index of open ones."""
    policy.require(actor, "compliance.run")
    return EvidenceRun.objects.filter(state=RunState.QUEUED).exists()


def require_folder(run: EvidenceRun) -> EvidenceRun:
    """Raises Conflict for a run whose folder is not in the store."""
    if run.folder_id is None:
        raise Conflict(
            "Evidence run {number} has no folder here.",
            number=run.pk,
            code="evidence_folder_missing",
            field="run",
            hint=N_("A run of the command wrote it to the folder that it named; start a run here."),
        )
    return run
