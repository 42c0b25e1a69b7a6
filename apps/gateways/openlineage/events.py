"""Our jobs as OpenLineage events: START and COMPLETE, FAIL or ABORT of each attempt, made from the moves of its state.

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
from apps.data.datasets.queries import quality
from apps.gateways.openlineage import facets
from apps.gateways.openlineage.naming import namespace_of, pipeline_run_id, run_id_of
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.platform.jobs.models import Job, JobEvent, JobInput, JobOutput, JobProvenance
from apps.platform.jobs.notices import is_told
from apps.platform.jobs.states import JobState
from apps.platform.jobs.tabs import flat

TYPES = {
    JobState.RUNNING: "START",
    JobState.SUCCEEDED: "COMPLETE",
    JobState.FAILED: "FAIL",
    JobState.CANCELLED: "ABORT",
}
REPORTS = ("quality_before", "quality_after", "origins")  # outputs that tell of others
MOVES = 400  # of one job
NEWEST = 3  # versions of equal bytes that are looked at: one may be what the job made itself
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a job beside its moves."""

    job: Job
    sources: Mapping[str, DatasetVersion]
    inputs: Mapping[str, JobInput]
    outputs: list[JobOutput]
    made: Mapping[str, DatasetVersion]  # by the digest of the output that became it
    reports: Mapping[str, Mapping[str, Any] | None]  # quality reports by slot
    provenance: JobProvenance | None
    step: PipelineStep | None


def events_of_job(actor: Actor, job: Job) -> list[Event]:
    """The events of every attempt of a job, the oldest first."""
    policy.require(actor, "job.view", job)
    return events_of(actor, [job])


def events_of_pipeline(actor: Actor, pipeline: Pipeline) -> list[Event]:
    """The events of every job of a pipeline, the oldest first."""
    policy.require(actor, "pipeline.view", pipeline)
    steps = pipeline.steps.select_related("job__project", "job__node").order_by("position")
    return sorted(events_of(actor, [step.job for step in steps]), key=lambda event: str(event["eventTime"]))


def events_of(actor: Actor, jobs: Sequence[Job]) -> list[Event]:
    moves = JobEvent.objects.filter(job__in=jobs, kind="state").order_by("job_id", "seq")[: MOVES * len(jobs)]
    facts = facts_of(actor, jobs)
    return [event_of(facts[move.job_id], move) for move in moves if is_told(move)]


def facts_of(actor: Actor, jobs: Sequence[Job]) -> dict[int, Facts]:
    """{job: everything that its events may tell}. Seven queries, however many; reads quality reports in the store."""
    inputs: dict[int, dict[str, JobInput]] = {job.pk: {} for job in jobs}
    outputs: dict[int, list[JobOutput]] = {job.pk: [] for job in jobs}
    made: dict[int, dict[str, DatasetVersion]] = {job.pk: {} for job in jobs}
    for taken in JobInput.objects.filter(job__in=jobs).select_related("artifact").order_by("slot"):
        inputs[taken.job_id][taken.slot] = taken
    for given in JobOutput.objects.filter(job__in=jobs).select_related("artifact").order_by("slot"):
        outputs[given.job_id].append(given)
    versions = DatasetVersion.objects.filter(job_id__in=inputs, dataset__project__in={job.project_id for job in jobs})
    for version in versions.select_related("dataset").prefetch_related("files"):
        made[version.job_id or 0] |= {file.artifact_id: version for file in version.files.all()}
    sources = sources_of(jobs, inputs)
    known = {version.pk: report_of(actor, version) for slots in sources.values() for version in slots.values()}
    provenances = JobProvenance.objects.in_bulk(list(inputs))
    steps = {step.job_id: step for step in PipelineStep.objects.filter(job__in=jobs).select_related("pipeline")}
    return {
        job.pk: Facts(
            job=job,
            sources=sources[job.pk],
            inputs=inputs[job.pk],
            outputs=outputs[job.pk],
            made=made[job.pk],
            reports={slot: known[version.pk] for slot, version in sources[job.pk].items()},
            provenance=provenances.get(job.pk),
            step=steps.get(job.pk),
        )
        for job in jobs
    }


def sources_of(
    jobs: Sequence[Job], inputs: Mapping[int, Mapping[str, JobInput]]
) -> dict[int, dict[str, DatasetVersion]]:
    """{job: {slot: the newest version that held its bytes}}, never one that the job made itself. One query."""
    digests = {row.artifact_id for slots in inputs.values() for row in slots.values() if row.artifact_id}
    newest = Window(RowNumber(), partition_by=F("artifact"), order_by=F("version").desc())
    files = DatasetFile.objects.filter(
        artifact__in=digests, version__dataset__project__in={job.project_id for job in jobs}
    ).annotate(place=newest)
    held: dict[str, list[DatasetVersion]] = defaultdict(list)
    files = files.select_related("version__dataset", "version__quality").defer("version__manifest")
    for file in files.filter(place__lte=NEWEST):
        held[file.artifact_id].append(file.version)
    told: dict[int, dict[str, DatasetVersion]] = {}
    for job in jobs:
        told[job.pk] = {}
        for slot, row in inputs[job.pk].items():
            before = [version for version in held[row.artifact_id or ""] if version.job_id != job.pk]
            if before:
                told[job.pk][slot] = max(before, key=lambda version: version.pk)
    return told


def report_of(actor: Actor, version: DatasetVersion) -> Mapping[str, Any] | None:
    """The quality report; None also where it is damaged or too large: an event is told without it."""
    try:
        return quality(actor, version)
    except (PlaneError, ValueError):
        return None


def event_of(facts: Facts, move: JobEvent) -> Event:
    """The event that a move of the job's state is."""
    job, payload = facts.job, move.payload
    kind = type_of(payload)
    namespace = namespace_of(job.project.slug)
    ended = kind == "COMPLETE"
    return {
        "eventType": kind,
        "eventTime": str(payload.get("at") or move.created_at.isoformat()),
        "run": {"runId": str(run_id_of(job.pk, move.attempt)), "facets": run_facets(facts, namespace, kind, payload)},
        "job": {"namespace": namespace, "name": name_of(job), "facets": job_facets(facts, ended=ended)},
        "inputs": list(inputs_in(facts, namespace)),
        "outputs": list(outputs_in(facts, namespace)) if ended else [],
        "producer": facets.producer(),
        "schemaURL": facets.RUN_EVENT,
    }


def type_of(payload: Mapping[str, Any]) -> str:
    """A running job that was queued again has failed in this attempt, or was let go of."""
    found = TYPES.get(payload.get("state", ""))
    return str(found or ("FAIL" if "code" in payload else "ABORT"))


def name_of(job: Job) -> str:
    """What recurs: the kind, and the name that people gave the work."""
    return f"{job.kind}.{job.name}" if job.name else job.kind


def run_facets(facts: Facts, namespace: str, kind: str, payload: Mapping[str, Any]) -> Event:
    found: Event = {
        "processing_engine": facets.engine_of(),
        "executionParameters": facets.parameters_of(
            [(name, value) for name, value in flat(json.loads(facts.job.spec)) if value not in (None, "")]
        ),
    }
    if facts.step is not None:
        pipeline = facts.step.pipeline
        parent = f"pipeline.{pipeline.name or pipeline.template or pipeline.pk}"
        found["parent"] = facets.parent_of(str(pipeline_run_id(pipeline.pk)), namespace, parent)
    if kind == "FAIL":
        found["errorMessage"] = facets.error_of(str(payload.get("reason") or "The job failed."))
    if kind == "COMPLETE" and facts.provenance is not None:
        found["deepseek_environment"] = facets.environment_of(facts.provenance.node, facts.provenance.environment)
    return found


def job_facets(facts: Facts, *, ended: bool) -> Event:
    """The digest of the code is known once the attempt has ended; before, no event tells it, whenever it is made."""
    digest = facts.provenance.code_digest if facts.provenance and ended else ""
    return {
        "jobType": facets.type_of(facts.job.kind.upper()),
        "sourceCodeLocation": facets.code_of(facts.job.kind, digest),
    }


def inputs_in(facts: Facts, namespace: str) -> Iterable[Event]:
    for slot, row in facts.inputs.items():
        if row.artifact is None:
            continue
        version = facts.sources.get(slot)
        told = dataset(namespace, version, row.artifact.digest)
        rows, size = (version.rows, version.size) if version else (None, row.artifact.size)
        told["inputFacets"] = {"dataQualityMetrics": facets.quality_of(rows, size, 1, facts.reports.get(slot))}
        yield told


def outputs_in(facts: Facts, namespace: str) -> Iterable[Event]:
    for row in facts.outputs:
        if row.slot in REPORTS:
            continue
        version = facts.made.get(row.artifact.digest)
        told = dataset(namespace, version, row.artifact.digest)
        if version is None and row.meta.get("columns"):
            told["facets"]["schema"] = facets.schema_of(row.meta["columns"])
        rows = row.meta.get("rows")
        rows = rows if isinstance(rows, int) else None
        told["outputFacets"] = {"outputStatistics": facets.output_of(rows, row.artifact.size)}
        yield told


def dataset(namespace: str, version: DatasetVersion | None, digest: str) -> Event:
    """A version by its dataset's name and its number; bytes that are no version by their digest."""
    told: Event = {"dataSource": facets.source_of(namespace)}
    if version is None:
        told["version"] = facets.version_of(digest)
        return {"namespace": namespace, "name": f"artifacts/{digest}", "facets": told}
    told["version"] = facets.version_of(str(version.number))
    if version.columns:
        told["schema"] = facets.schema_of(version.columns)
    return {"namespace": namespace, "name": version.dataset.name, "facets": told}
