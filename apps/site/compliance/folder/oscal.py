"""The clauses as an OSCAL catalog, and a run as OSCAL assessment results (https://pages.nist.gov/OSCAL).

Ids of the documents' parts are UUIDs version 5 of what they are about, so the same run gives the same document.
A finding is `satisfied` where its clause is met or not applicable; the verdict itself stands beside it as a property.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from apps.site.compliance.assessment import ClauseVerdict
from apps.site.compliance.clauses import CLAUSES, CONTROLS
from apps.site.compliance.models import Attachment
from apps.site.compliance.probes.outcomes import ProbeOutcome
from apps.site.compliance.states import Verdict

OSCAL_VERSION = "1.2.1"
NAMESPACE = UUID("6f3f1f6a-3a1c-5c55-9d5e-6c6a2f5b7d10")
PROPERTIES = "urn:deepseek-offline:compliance"
CATALOG_DATE = "2026-11-30T00:00:00+00:00"
CATALOG_VERSION = "1"
HASH = "SHA-256"


def build_uuid(*names: str) -> str:
    return str(uuid5(NAMESPACE, "\n".join(names)))


def build_control_id(clause: str) -> str:
    """OSCAL wants ids that begin with a letter."""
    return f"mlps3-{clause}"


def build_catalog() -> dict[str, Any]:
    """The clause table: a group for each control of the standard, a control for each of its clauses."""
    groups = []
    for number, title in CONTROLS.items():
        controls = []
        for clause in CLAUSES:
            if clause.control != number:
                continue
            name = build_control_id(clause.id)
            controls.append(
                {
                    "id": name,
                    "class": "MLPS-3",
                    "title": f"{clause.id} {clause.summary.zh}",
                    "props": [{"name": "label", "value": clause.id}],
                    "parts": [
                        {"id": f"{name}_smt", "name": "statement", "prose": f"{clause.summary.zh} {clause.summary.en}"}
                    ],
                }
            )
        groups.append({"id": f"mlps3-{number}", "title": f"{number} {title.zh} {title.en}", "controls": controls})
    metadata = {
        "title": "GB/T 22239-2019, level 3, 8.1.4 and 8.1.5: own summaries of the clauses of an application",
        "last-modified": CATALOG_DATE,
        "version": CATALOG_VERSION,
        "oscal-version": OSCAL_VERSION,
    }
    return {"catalog": {"uuid": build_uuid("catalog", CATALOG_VERSION), "metadata": metadata, "groups": groups}}


def build_assessment_results(
    *,
    run: str,
    began: datetime,
    ended: datetime,
    outcomes: Sequence[ProbeOutcome],
    verdicts: Sequence[ClauseVerdict],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """The run: an observation for each probe and document, a finding for each clause. `files`: path -> SHA-256 of what
    lies in the folder beside it, which observations lead to. `run` names it uniquely."""
    evidence = build_uuid(run, "file", "evidence.json")
    documents = list({row.pk: row for verdict in verdicts for row in verdict.documents}.values())
    observations = [build_probe_observation(run, outcome, ended, evidence) for outcome in outcomes]
    observations += [build_document_observation(run, row, files) for row in documents]
    resources = [
        {"uuid": build_uuid(run, "plan"), "title": "Assessment plan: every probe of the plane (docs/compliance.md)"},
        *(
            {
                "uuid": build_uuid(run, "file", path),
                "title": path,
                "rlinks": [{"href": path, "hashes": [{"algorithm": HASH, "value": digest}]}],
            }
            for path, digest in sorted(files.items())
        ),
    ]
    return {
        "assessment-results": {
            "uuid": build_uuid(run, "assessment-results"),
            "metadata": {
                "title": "Evidence of compliance with MLPS level 3",
                "last-modified": ended.isoformat(),
                "version": run,
                "oscal-version": OSCAL_VERSION,
            },
            "import-ap": {"href": f"#{build_uuid(run, 'plan')}"},
            "results": [
                {
                    "uuid": build_uuid(run, "result"),
                    "title": f"Evidence run {run}",
                    "description": "Every probe tried its violations on the running configuration and was rolled back.",
                    "start": began.isoformat(),
                    "end": ended.isoformat(),
                    "reviewed-controls": {
                        "control-selections": [
                            {
                                "include-controls": [
                                    {"control-id": build_control_id(verdict.clause.id)} for verdict in verdicts
                                ]
                            }
                        ]
                    },
                    "observations": observations,
                    "findings": [build_finding(run, verdict) for verdict in verdicts],
                }
            ],
            "back-matter": {"resources": resources},
        }
    }


def build_probe_observation(run: str, outcome: ProbeOutcome, at: datetime, evidence: str) -> dict[str, Any]:
    lines = [
        f"{'refused' if attempt.holds else 'NOT REFUSED'}: {attempt.text.en}"
        + (f" ({attempt.detail})" if attempt.detail else "")
        for attempt in outcome.attempts
    ]
    reason = outcome.reason.en if outcome.reason else ""
    return {
        "uuid": build_uuid(run, "probe", outcome.name),
        "title": outcome.name,
        "description": "\n".join(lines) or reason or "no attempt",
        "props": [{"name": "verdict", "ns": PROPERTIES, "value": str(outcome.verdict).replace(" ", "-")}],
        "methods": ["TEST"],
        "types": ["control-objective"],
        "collected": at.isoformat(),
        "relevant-evidence": [{"href": f"#{evidence}", "description": f"The attempts of the probe {outcome.name}"}],
    }


def build_document_observation(run: str, row: Attachment, files: Mapping[str, str]) -> dict[str, Any]:
    path = f"documents/{row.artifact_id}"
    return {
        "uuid": build_uuid(run, "document", str(row.pk)),
        "title": row.title,
        "description": f"{row.file_name}, of {row.owner}, attached by {row.attached_by}",
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        "collected": f"{row.dated_on.isoformat()}T00:00:00+00:00",
        "expires": f"{row.expires_on.isoformat()}T23:59:59+00:00",
        "relevant-evidence": [
            {"href": f"#{build_uuid(run, 'file', path)}" if path in files else path, "description": row.title}
        ],
    }


def build_finding(run: str, verdict: ClauseVerdict) -> dict[str, Any]:
    satisfied = verdict.verdict in (Verdict.MET, Verdict.NOT_APPLICABLE)
    related = [build_uuid(run, "probe", outcome.name) for outcome in verdict.outcomes]
    related += [build_uuid(run, "document", str(row.pk)) for row in verdict.documents]
    status: dict[str, Any] = {"state": "satisfied" if satisfied else "not-satisfied"}
    if verdict.verdict == Verdict.PARTLY:
        status["remarks"] = "Partly met: some of its attempts were refused."
    if verdict.verdict == Verdict.NOT_APPLICABLE:
        status["remarks"] = "Not applicable: see the reason in its observations."
    finding: dict[str, Any] = {
        "uuid": build_uuid(run, "finding", verdict.clause.id),
        "title": f"{verdict.clause.id} {verdict.clause.summary.en}",
        "description": f"{verdict.clause.summary.zh} {verdict.reason.en if verdict.reason else ''}".strip(),
        "props": [{"name": "verdict", "ns": PROPERTIES, "value": str(verdict.verdict).replace(" ", "-")}],
        "target": {
            "type": "statement-id",
            "target-id": f"{build_control_id(verdict.clause.id)}_smt",
            "status": status,
        },
    }
    if related:
        finding["related-observations"] = [{"observation-uuid": name} for name in related]
    return finding
