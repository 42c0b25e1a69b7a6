"""Our jobs as OpenLineage events: START and COMPLETE, FAIL or ABORT of each attempt, built from its state changes.

The same move gives the same event whoever asks and whenever: what is sent twice is known again by its receiver.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.queries import read_quality_report
from apps.gateways.openlineage import facets
from apps.gateways.openlineage.naming import get_namespace, get_pipeline_run_id, get_run_id
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.platform.jobs.models import Job, JobEvent, JobInput, JobOutput, JobProvenance
from apps.platform.jobs.notices import is_notifiable
from apps.platform.jobs.states import JobState
from apps.platform.jobs.tabs import flatten_spec

EVENT_TYPE_BY_STATE = {
    JobState.RUNNING: "START",
    JobState.SUCCEEDED: "COMPLETE",
    JobState.FAILED: "FAIL",
    JobState.CANCELLED: "ABORT",
}
REPORT_SLOTS = ("quality_before", "quality_after", "origins")  # outputs that tell of others
MAX_MOVES_PER_JOB = 400  # of one job
MAX_VERSIONS_PER_DIGEST = 3  # versions of equal bytes that are looked at: one may be what the job made itself
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What is known of a job beside its moves."""

    job: Job
    sources: Mapping[str, DatasetVersion]
    inputs: Mapping[str, JobInput]
    outputs: list[JobOutput]
    made_versions: Mapping[str, DatasetVersion]  # by the digest of the output that became it
    reports: Mapping[str, Mapping[str, Any] | None]  # quality reports by slot
    provenance: JobProvenance | None
    step: PipelineStep | None


def list_job_events(actor: Actor, job: Job) -> list[Event]:
    """The events of every attempt of a job, the oldest first."""
    policy.require(actor, "job.view", job)
    return build_events(actor, [job])


def list_pipeline_events(actor: Actor, pipeline: Pipeline) -> list[Event]:
    """The events of every job of a pipeline, the oldest first."""
    policy.require(actor, "pipeline.view", pipeline)
    steps = pipeline.steps.select_related("job__project", "job__node").order_by("position")
    return sorted(build_events(actor, [step.job for step in steps]), key=lambda event: str(event["eventTime"]))


def build_events(actor: Actor, jobs: Sequence[Job]) -> list[Event]:
    moves = JobEvent.objects.filter(job__in=jobs, kind="state").order_by("job_id", "seq")[
        : MAX_MOVES_PER_JOB * len(jobs)
    ]
    facts = load_facts(actor, jobs)
    return [build_event(facts[move.job_id], move) for move in moves if is_notifiable(move)]


def load_facts(actor: Actor, jobs: Sequence[Job]) -> dict[int, JobFacts]:
    """{job: everything that its events may tell}. Seven queries, however many; reads quality reports in the store."""
    inputs: dict[int, dict[str, JobInput]] = {job.pk: {} for job in jobs}
    outputs: dict[int, list[JobOutput]] = {job.pk: [] for job in jobs}
    made_versions: dict[int, dict[str, DatasetVersion]] = {job.pk: {} for job in jobs}
    for job_input in JobInput.objects.filter(job__in=jobs).select_related("artifact").order_by("slot"):
        inputs[job_input.job_id][job_input.slot] = job_input
    for job_output in JobOutput.objects.filter(job__in=jobs).select_related("artifact").order_by("slot"):
        outputs[job_output.job_id].append(job_output)
    versions = DatasetVersion.objects.filter(job_id__in=inputs, dataset__project__in={job.project_id for job in jobs})
    if not actor.is_cleared_for_all:
        versions = versions.filter(dataset__security_label__lte=actor.clearance)
    for version in versions.select_related("dataset").prefetch_related("files"):
        made_versions[version.job_id or 0] |= {file.artifact_id: version for file in version.files.all()}
    sources = find_source_versions(actor, jobs, inputs)
    reports = {
        version.pk: find_quality_report(actor, version) for slots in sources.values() for version in slots.values()
    }
    provenances = JobProvenance.objects.in_bulk(list(inputs))
    steps = {step.job_id: step for step in PipelineStep.objects.filter(job__in=jobs).select_related("pipeline")}
    return {
        job.pk: JobFacts(
            job=job,
            sources=sources[job.pk],
            inputs=inputs[job.pk],
            outputs=outputs[job.pk],
            made_versions=made_versions[job.pk],
            reports={slot: reports[version.pk] for slot, version in sources[job.pk].items()},
            provenance=provenances.get(job.pk),
            step=steps.get(job.pk),
        )
        for job in jobs
    }


def find_source_versions(
    actor: Actor, jobs: Sequence[Job], inputs: Mapping[int, Mapping[str, JobInput]]
) -> dict[int, dict[str, DatasetVersion]]:
    """{job: {slot: the newest version that held its bytes}}, never one that the job made itself, or that a security
    label hides from the actor. One query."""
    digests = {row.artifact_id for slots in inputs.values() for row in slots.values() if row.artifact_id}
    newest = Window(RowNumber(), partition_by=F("artifact"), order_by=F("version").desc())
    files = DatasetFile.objects.filter(
        artifact__in=digests, version__dataset__project__in={job.project_id for job in jobs}
    )
    if not actor.is_cleared_for_all:
        files = files.filter(version__dataset__security_label__lte=actor.clearance)
    files = files.annotate(place=newest)
    versions: dict[str, list[DatasetVersion]] = defaultdict(list)
    files = files.select_related("version__dataset", "version__quality").defer("version__manifest")
    for file in files.filter(place__lte=MAX_VERSIONS_PER_DIGEST):
        versions[file.artifact_id].append(file.version)
    sources: dict[int, dict[str, DatasetVersion]] = {}
    for job in jobs:
        sources[job.pk] = {}
        for slot, row in inputs[job.pk].items():
            candidates = [version for version in versions[row.artifact_id or ""] if version.job_id != job.pk]
            if candidates:
                sources[job.pk][slot] = max(candidates, key=lambda version: version.pk)
    return sources


def find_quality_report(actor: Actor, version: DatasetVersion) -> Mapping[str, Any] | None:
    """The quality report; None also where it is damaged or too large: an event is told without it."""
    try:
        return read_quality_report(actor, version)
    except (PlaneError, ValueError):
        return None


def build_event(facts: JobFacts, move: JobEvent) -> Event:
    """The event that a move of the job's state is."""
    job, payload = facts.job, move.payload
    kind = get_event_type(payload)
    namespace = get_namespace(job.project.slug)
    ended = kind == "COMPLETE"
    return {
        "eventType": kind,
        "eventTime": str(payload.get("at") or move.created_at.isoformat()),
        "run": {
            "runId": str(get_run_id(job.pk, move.attempt)),
            "facets": build_run_facets(facts, namespace, kind, payload),
        },
        "job": {"namespace": namespace, "name": get_job_name(job), "facets": build_job_facets(facts, ended=ended)},
        "inputs": list(iter_inputs(facts, namespace)),
        "outputs": list(iter_outputs(facts, namespace)) if ended else [],
        "producer": facets.get_producer(),
        "schemaURL": facets.RUN_EVENT,
    }


def get_event_type(payload: Mapping[str, Any]) -> str:
    """A running job that was queued again has failed in this attempt, or was let go of."""
    event_type = EVENT_TYPE_BY_STATE.get(payload.get("state", ""))
    return str(event_type or ("FAIL" if "code" in payload else "ABORT"))


def get_job_name(job: Job) -> str:
    """What recurs: the kind, and the name that people gave the work."""
    return f"{job.kind}.{job.name}" if job.name else job.kind


def build_run_facets(facts: JobFacts, namespace: str, kind: str, payload: Mapping[str, Any]) -> Event:
    result: Event = {
        "processing_engine": facets.build_engine_facet(),
        "executionParameters": facets.build_parameters_facet(
            [(name, value) for name, value in flatten_spec(json.loads(facts.job.spec)) if value not in (None, "")]
        ),
    }
    if facts.step is not None:
        pipeline = facts.step.pipeline
        parent = f"pipeline.{pipeline.name or pipeline.template or pipeline.pk}"
        result["parent"] = facets.build_parent_facet(str(get_pipeline_run_id(pipeline.pk)), namespace, parent)
    if kind == "FAIL":
        result["errorMessage"] = facets.build_error_facet(str(payload.get("reason") or "The job failed."))
    if kind == "COMPLETE" and facts.provenance is not None:
        result["deepseek_environment"] = facets.build_environment_facet(
            facts.provenance.node, facts.provenance.environment
        )
    return result


def build_job_facets(facts: JobFacts, *, ended: bool) -> Event:
    """The digest of the code is known once the attempt has ended; before, no event tells it, whenever it is made."""
    digest = facts.provenance.code_digest if facts.provenance and ended else ""
    return {
        "jobType": facets.build_job_type_facet(facts.job.kind.upper()),
        "sourceCodeLocation": facets.build_code_facet(facts.job.kind, digest),
    }


def iter_inputs(facts: JobFacts, namespace: str) -> Iterable[Event]:
    for slot, row in facts.inputs.items():
        if row.artifact is None:
            continue
        version = facts.sources.get(slot)
        payload = build_dataset(namespace, version, row.artifact.digest)
        rows, size = (version.rows, version.size) if version else (None, row.artifact.size)
        payload["inputFacets"] = {
            "dataQualityMetrics": facets.build_quality_facet(rows, size, 1, facts.reports.get(slot))
        }
        yield payload


def iter_outputs(facts: JobFacts, namespace: str) -> Iterable[Event]:
    for row in facts.outputs:
        if row.slot in REPORT_SLOTS:
            continue
        version = facts.made_versions.get(row.artifact.digest)
        payload = build_dataset(namespace, version, row.artifact.digest)
        if version is None and row.meta.get("columns"):
            payload["facets"]["schema"] = facets.build_schema_facet(row.meta["columns"])
        rows = row.meta.get("rows")
        rows = rows if isinstance(rows, int) else None
        payload["outputFacets"] = {"outputStatistics": facets.build_output_facet(rows, row.artifact.size)}
        yield payload


def build_dataset(namespace: str, version: DatasetVersion | None, digest: str) -> Event:
    """A version by its dataset's name and its number; bytes that are no version by their digest."""
    dataset_facets: Event = {"dataSource": facets.build_source_facet(namespace)}
    if version is None:
        dataset_facets["version"] = facets.build_version_facet(digest)
        return {"namespace": namespace, "name": f"artifacts/{digest}", "facets": dataset_facets}
    dataset_facets["version"] = facets.build_version_facet(str(version.number))
    if version.columns:
        dataset_facets["schema"] = facets.build_schema_facet(version.columns)
    return {"namespace": namespace, "name": version.dataset.name, "facets": dataset_facets}
