"""From outcomes of probes and attached documents to the verdict of each clause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from apps.site.compliance.clauses import CLAUSES, Clause
from apps.site.compliance.models import Attachment
from apps.site.compliance.probes.outcomes import ProbeOutcome
from apps.site.compliance.states import Verdict, combine_verdicts
from apps.site.compliance.texts import Bilingual

NO_DOCUMENT = Bilingual("No document that is valid today is attached", "未附有效期内的证明文件")


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """`documents`: those attached that are valid; `reason`: why a document lacks, or why it is not applicable."""

    clause: Clause
    verdict: str
    outcomes: tuple[ProbeOutcome, ...]
    documents: tuple[Attachment, ...]
    reason: Bilingual | None = None

    def list_evidence(self) -> list[dict[str, Any]]:
        """Everything that the verdict rests on, as evidence.json has it."""
        rows: list[dict[str, Any]] = [
            {"kind": "attempt", "probe": outcome.name, **attempt.to_dict()}
            for outcome in self.outcomes
            for attempt in outcome.attempts
        ]
        rows += [
            {"kind": "reason", "probe": outcome.name, "text": outcome.reason.to_dict()}
            for outcome in self.outcomes
            if outcome.reason is not None
        ]
        rows += [
            {
                "kind": "document",
                "title": row.title,
                "owner": row.owner,
                "dated_on": row.dated_on.isoformat(),
                "expires_on": row.expires_on.isoformat(),
                "file_name": row.file_name,
                "sha256": row.artifact_id,
                "attached_by": row.attached_by,
            }
            for row in self.documents
        ]
        if self.reason is not None:
            rows.append({"kind": "reason", "text": self.reason.to_dict()})
        return rows


def evaluate_clauses(
    outcomes: Iterable[ProbeOutcome], attachments: Iterable[Attachment], today: date
) -> list[ClauseVerdict]:
    """The verdict of each clause, in the order of the standard."""
    by_name = {outcome.name: outcome for outcome in outcomes}
    by_clause: dict[str, list[Attachment]] = {}
    for row in attachments:
        if row.withdrawn_at is None and row.dated_on <= today <= row.expires_on:
            by_clause.setdefault(row.clause, []).append(row)
    return [evaluate_clause(clause, by_name, by_clause.get(clause.id, [])) for clause in CLAUSES]


def evaluate_clause(clause: Clause, by_name: Mapping[str, ProbeOutcome], documents: list[Attachment]) -> ClauseVerdict:
    outcomes = tuple(by_name[name] for name in clause.probes)
    parts = [str(outcome.verdict) for outcome in outcomes]
    reason = None
    if clause.document is not None:
        parts.append(Verdict.MET if documents else Verdict.NOT_MET)
        reason = (
            None
            if documents
            else Bilingual(f"{NO_DOCUMENT.en}: {clause.document.en}", f"{NO_DOCUMENT.zh}：{clause.document.zh}")
        )
    return ClauseVerdict(clause, combine_verdicts(parts), outcomes, tuple(documents), reason)
