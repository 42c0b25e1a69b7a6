"""Profile jobs: they measure the table of a version, or of one that is created once its expectations are met."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.data.datasets import services
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.provenance.job_inputs import build_edges, build_input_ends, get_input_digests
from apps.data.datasets.quality.profile_job_retention import IS_MEASUREMENT, KIND, choose_queueing_actor
from apps.data.datasets.queries import find_first_table, get_main_file
from apps.data.datasets.versions import registration
from apps.data.datasets.versions.manifest import (
    MEASURED_FORMATS,
    format_csv_type,
    get_table_path,
    is_table,
    parse_dialect,
)
from apps.data.datasets.versions.table_parts import build_table_inputs, query_part_versions
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job, JobInput
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.jobs.states import ENDED
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from deepseek.messages import N_
from deepseek.tables.csv_dialect import CsvDialect

SLOT, REPORT = "table", "quality"
MAX_VERSIONS_PER_REPORT = 100  # versions of the same bytes that one report is attached to


def measure_version(*, actor: Actor, version: DatasetVersion) -> tuple[Job, bool]:
    """Queue a profile job of the version, or return the one that is running: (job, whether it is new).

    What the dataset expects is told in the report: a version that is there cannot be blocked any more. Raises Conflict
    where a report stands, Invalid where the version has no table, what submit_job raises.
    """
    policy.require(actor, "job.submit", version)
    if version.quality_id is not None:
        raise Conflict(
            "{version} has a quality report already.",
            version=version,
            code="quality_exists",
            field="quality",
            hint=N_("A report is measured once; other bytes are another version."),
        )
    return measure_table(actor, version, get_main_file(actor, version))


def measure_added(*, actor: Actor, version: DatasetVersion) -> Job | None:
    """Queue what measures a version just added, on the plane's behalf where the actor may not submit jobs.

    None where there is nothing to measure: no table, an empty or damaged one, or a report that came with it. A push
    and an ingest call it in the transaction that adds the version; after it, the same request again makes up for it.
    """
    policy.require(actor, "dataset.add_version", version)
    table = find_first_table(version)
    if version.quality_id is not None or table is None or not table.artifact.size or table.artifact.damaged_at:
        return None
    return measure_table(choose_queueing_actor(actor, version, "job.submit"), version, table)[0]


def measure_table(actor: Actor, version: DatasetVersion, table: DatasetFile) -> tuple[Job, bool]:
    """The job that measures this table of the version, which one may do already, and whether it is new."""
    spec = {
        "csv": asdict(parse_dialect(table.media_type) or CsvDialect()),
        "expectations": version.dataset.expectations,
        "on_failure": "report",
    }
    inputs = build_table_inputs(version, table.artifact_id, SLOT)
    first = inputs[0]
    of_these = JobInput.objects.filter(artifact=first.digest, slot=first.slot, job__project_id=version.project_id)
    unended = of_these.filter(IS_MEASUREMENT).exclude(job__state__in=ENDED).select_related("job")
    running = next(
        (row.job for row in unended if has_same_spec(row.job, spec) and has_same_inputs(row.job, inputs)), None
    )
    if running is not None:
        return running, False
    return submit_profile_job(actor, version.dataset.project, inputs, spec, name=f"{version}"[:120])


def has_same_spec(job: Job, spec: Mapping[str, Any]) -> bool:
    """Whether the job reads its table in this way, and looks for the same."""
    has = json.loads(job.spec)
    return bool(has["expectations"] == spec["expectations"] and spec["csv"].items() <= has["csv"].items())


def has_same_inputs(job: Job, inputs: Sequence[InputSpec]) -> bool:
    """Whether the job takes these parts of a table and no other; the caller has compared the first."""
    return len(inputs) == 1 or get_input_digests(job) == {part.slot: part.digest for part in inputs}


def build_media_type(meta: Mapping[str, Any]) -> str:
    """The media type of a profiled table, from the metadata of the job's output; a dialect is the one it detected."""
    if meta.get("format", "csv") != "csv":
        return MEASURED_FORMATS[meta["format"]][0]
    read = meta.get("csv") or {}
    return format_csv_type(CsvDialect(read.get("delimiter", ","), read.get("encoding", "utf-8")))


def submit_profile_job(
    actor: Actor,
    project: Project,
    inputs: Sequence[InputSpec],
    spec: Mapping[str, Any],
    *,
    name: str,
    register: Any = None,
) -> tuple[Job, bool]:
    submission = Submission(kind=KIND, spec=spec, inputs=inputs, register=register or {}, name=name)
    return submit_job(actor=actor, project=project, submission=submission)


def register_measurements(*, actor: Actor, job: Job, outputs: Sequence[services.JobOutputRow]) -> list[DatasetVersion]:
    """What a job of the kind `profile` has measured becomes the quality of the versions that hold these bytes.

    Where the job registers in a dataset that has no such version, the table becomes one: it was checked. Lineage says
    what went in and what came out. Call it inside the transaction that ends the job.
    """
    policy.require(actor, "dataset.set_quality", job.project)
    outputs_by_slot = {row[0]: row for row in outputs}
    report, meta = outputs_by_slot[REPORT][1], outputs_by_slot[REPORT][4]
    slots = get_input_digests(job)
    kind = build_media_type(meta)
    name = job.register.get("dataset")
    job_end = End("job", str(job.pk), label=str(job))
    with transaction.atomic():
        versions = find_holding_versions(job, slots, kind, name)
        for version in versions:
            services.attach_quality(actor, version, report)
        edges = [EdgeSpec.between(job_end, End("artifact", report.pk, digest=report.pk, label="quality"), REPORT)]
        if name and not versions:
            version = add_checked_version(actor, job, name, slots, kind, report, meta)
            edges = build_edges(job, {}, version, SLOT)
            versions = [version]
        else:
            ends = build_input_ends(slots, {SLOT: versions[0]} if versions else {})
            edges += [EdgeSpec.between(end, job_end, slot) for slot, end in ends.items()]
        record_edges(actor=actor, project=job.project, edges=edges)
    return versions


def find_holding_versions(job: Job, slots: Mapping[str, str], kind: str, name: str | None) -> list[DatasetVersion]:
    """The versions whose table these bytes are, read as the job read them; of the dataset `name` if one is named."""
    if SLOT not in slots:
        versions = query_part_versions(job.project_id, slots, SLOT).select_related("dataset").defer("manifest")
        versions = versions.filter(dataset__name=name) if name else versions
        return list(versions.order_by("-pk")[:MAX_VERSIONS_PER_REPORT])
    files = DatasetFile.objects.filter(artifact=slots[SLOT], version__dataset__project_id=job.project_id)
    if name:
        files = files.filter(version__dataset__name=name)
    files = files.select_related("version__dataset").order_by("-version_id")[:MAX_VERSIONS_PER_REPORT]
    matching = (
        file for file in files if is_table(file.media_type) and parse_dialect(file.media_type) == parse_dialect(kind)
    )
    return [file.version for file in matching]


def add_checked_version(
    actor: Actor,
    job: Job,
    name: str,
    slots: Mapping[str, str],
    kind: str,
    report: Artifact,
    meta: Mapping[str, Any],
) -> DatasetVersion:
    dialect = parse_dialect(kind)
    artifacts = Artifact.objects.in_bulk(list(slots.values()))
    version, _new = registration.add_version(
        actor=actor,
        dataset=registration.ensure_dataset(actor=actor, project=job.project, name=name),
        files=[
            (get_table_path(kind) if slot == SLOT else slot.removeprefix(f"{SLOT}/"), artifacts[digest], kind)
            for slot, digest in slots.items()
        ],
        media_type=kind,
        rows=meta.get("rows"),
        columns=meta.get("columns", []),
        script="upload",
        params=asdict(dialect) if dialect else {},
        job_id=job.pk,
        quality=report,
        note=job.name,
        part_rows=meta.get("part_rows"),
    )
    return version
