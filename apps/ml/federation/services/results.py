"""What the server of a study reports, and the model version that its result becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import compute_digest, sha256_hex
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.ml.federation.models import RoundResult, Study
from apps.ml.federation.notices import notify_study_ended
from apps.ml.federation.services.studies import lock_study
from apps.ml.federation.states import SiteState, StudyState
from apps.ml.registry.services.job_files import JobFile, record_files_version
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.lineage.ends import End
from deepseek.messages import N_


def record_round(
    *,
    actor: Actor,
    study: Study,
    number: int,
    sites_count: int,
    refused_count: int = 0,
    metrics: Mapping[str, Any] | None = None,
    epsilon: float | None = None,
) -> RoundResult:
    """Keep what a round came to. A round that is reported again, after a restart, is replaced."""
    require(actor, "federation.record", study)
    values = {
        "sites_count": sites_count,
        "refused_count": refused_count,
        "metrics": dict(metrics or {}),
        "epsilon": epsilon,
    }
    with transaction.atomic():
        row, is_new = RoundResult.objects.update_or_create(study=study, number=number, defaults=values)
        if is_new:
            after = {"round": number, "sites": sites_count, "refused": refused_count, "epsilon": epsilon}
            record(actor=actor, action="federation.record", obj=study, after=after)
    return row


def complete_study(*, actor: Actor, job: Job, result: Mapping[str, Any]) -> Study | None:
    """The end of the job that served a study; None for a job that is of no study, or of one that was stopped.

    `result`: federation.json. Call it inside the transaction that ends the job.
    """
    require(actor, "federation.record", job)
    with transaction.atomic():
        rows = Study.objects.select_for_update(of=("self",)).select_related("project")
        study = rows.filter(job=job, state=StudyState.RUNNING).first()
        if study is None:
            return None
        study.result = dict(result)
        study.save(update_fields=["result"])  # beside the audit trail, which keeps its digest
        digests = {"result": compute_digest(study.result)}
        change_state(study, StudyState.COMPLETED, actor=actor, digests=digests, ended_at=timezone.now())
        notify_study_ended(study, actor)
    return study


def register_result(*, actor: Actor, study: Study, model: str) -> Study:
    """Make the global weights a version of `model`, which is created at need.

    Its lineage names the job, the sites, the rounds and the budget; no rows, which nobody here has seen. Raises
    Conflict `study_state`, `already_registered`, `no_result`.
    """
    require(actor, "federation.register_result", study)
    with transaction.atomic():
        row = lock_study(study, (StudyState.COMPLETED,))
        if row.result_version_id is not None:
            raise Conflict(
                "The result is {version} already.", version=row.result_version, code="already_registered", field="model"
            )
        outputs = JobOutput.objects.filter(job=row.job_id).select_related("artifact").order_by("slot")
        files = [JobFile(out.name or out.slot, out.artifact, out.media_type) for out in outputs]
        if not files or row.job is None:
            raise Conflict(
                "The job of the study has made no file.", code="no_result", field="state", hint=N_("Look at its log.")
            )
        facts = build_version_facts(row)
        sources = [
            (End("source", sha256_hex(f"{row.digest}/{name}"), label=f"{row.name}: {name}"), "site")
            for name in facts["sites"]
        ]
        row.result_version = record_files_version(
            actor=actor,
            project=row.project,
            name=model,
            source=f"studies/{row.pk}",
            job=row.job,
            files=files,
            facts={"federation": facts},
            tags=build_version_tags(facts),
            sources=sources,
        )
        row.save(update_fields=["result_version"])
        record(
            actor=actor,
            action="federation.register_result",
            obj=row,
            after={"version": str(row.result_version)},
            digests={"version": row.result_version.digest, "study": row.digest},
        )
    return row


def build_version_facts(study: Study) -> dict[str, Any]:
    """What the document of the version says of where it comes from: sites, rounds and budgets."""
    joined = study.sites.filter(state=SiteState.JOINED)  # not those that were removed before the start
    spent = study.rounds.aggregate(rounds=Max("number"), epsilon=Max("epsilon"))  # a site that left may have spent most
    return {
        "study": study.name,
        "digest": study.digest,
        "sites": list(joined.order_by("name").values_list("name", flat=True)),
        "rounds": spent["rounds"] or study.document["rounds"],
        "privacy": study.document["privacy"],
        "epsilon": spent["epsilon"],
        "algorithm": study.document["algorithm"],
        "aggregation": study.document["aggregation"],
    }


def build_version_tags(facts: Mapping[str, Any]) -> dict[str, str]:
    budget = facts["privacy"]["epsilon"] if facts["privacy"] else "none"
    return {
        "federation.study": f"{facts['study']} {facts['digest'][:12]}",
        "federation.sites": ", ".join(facts["sites"])[:500],
        "federation.rounds": str(facts["rounds"]),
        "federation.epsilon_budget": str(budget),
    }
