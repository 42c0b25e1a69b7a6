"""Jobs that measure a table: of a version that is there, or of one that shall be once it holds what is expected."""

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
from apps.data.datasets.provenance.job_inputs import edges_of, end_of, inputs_of
from apps.data.datasets.quality.profile_job_retention import KIND, MEASURES, queuing
from apps.data.datasets.queries import first_table, main_file
from apps.data.datasets.versions.manifest import (
    MEASURED,
    csv_type,
    dialect_of,
    is_table,
    path_of,
)
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
MEASURED_AT_ONCE = 100  # versions of the same bytes that one report is attached to


def measure_version(*, actor: Actor, version: DatasetVersion) -> tuple[Job, bool]:
    """Queue a job that measures the version; the one that does already, if there is one. (job, whether it is new)

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
    return measure_table(actor, version, main_file(actor, version))


def measure_added(*, actor: Actor, version: DatasetVersion) -> Job | None:
    """Queue what measures a version just added, on the plane's behalf where the actor may not submit jobs.

    None where there is nothing to measure: no table, an empty or damaged one, or a report that came with it. A push
    and an ingest call it in the transaction that adds the version; after it, the same request again makes up for it.
    """
    policy.require(actor, "dataset.add_version", version)
    table = first_table(version)
    if version.quality_id is not None or table is None or not table.artifact.size or table.artifact.damaged_at:
        return None
    return measure_table(queuing(actor, version, "job.submit"), version, table)[0]


def measure_table(actor: Actor, version: DatasetVersion, table: DatasetFile) -> tuple[Job, bool]:
    """The job that measures this table of the version, which one may do already, and whether it is new."""
    spec = {
        "csv": asdict(dialect_of(table.media_type) or CsvDialect()),
        "expectations": version.dataset.expectations,
        "on_failure": "report",
    }
    of_these = JobInput.objects.filter(artifact=table.artifact_id, slot=SLOT, job__project_id=version.project_id)
    unended = of_these.filter(MEASURES).exclude(job__state__in=ENDED).select_related("job")
    running = next((taken.job for taken in unended if asks_for(taken.job, spec)), None)
    if running is not None:
        return running, False
    return submit(actor, version.dataset.project, table.artifact_id, spec, name=f"{version}"[:120])


def asks_for(job: Job, spec: Mapping[str, Any]) -> bool:
    """Whether the job reads its table in this way, and looks for the same."""
    has = json.loads(job.spec)
    return bool(has["expectations"] == spec["expectations"] and spec["csv"].items() <= has["csv"].items())


def kind_of(meta: Mapping[str, Any]) -> str:
    """The media type of a table that was measured, by what the job says of it; a dialect is the one that was found."""
    if meta.get("format", "csv") != "csv":
        return MEASURED[meta["format"]][0]
    read = meta.get("csv") or {}
    return csv_type(CsvDialect(read.get("delimiter", ","), read.get("encoding", "utf-8")))


def submit(
    actor: Actor, project: Project, digest: str, spec: Mapping[str, Any], *, name: str, register: Any = None
) -> tuple[Job, bool]:
    asked = Submission(
        kind=KIND, spec=spec, inputs=[InputSpec(slot=SLOT, digest=digest)], register=register or {}, name=name
    )
    return submit_job(actor=actor, project=project, submission=asked)


def register_measured(*, actor: Actor, job: Job, outputs: Sequence[services.JobOutputRow]) -> list[DatasetVersion]:
    """What a job of the kind `profile` has measured becomes the quality of the versions that hold these bytes.

    Where the job registers in a dataset that has no such version, the table becomes one: it was checked. Lineage says
    what went in and what came out. Call it inside the transaction that ends the job.
    """
    policy.require(actor, "dataset.set_quality", job.project)
    made = {row[0]: row for row in outputs}
    report, meta = made[REPORT][1], made[REPORT][4]
    digest = inputs_of(job)[SLOT]
    kind = kind_of(meta)
    name = job.register.get("dataset")
    here = End("job", str(job.pk), label=str(job))
    with transaction.atomic():
        found = holding(job, digest, kind, name)
        for version in found:
            services.attach_quality(actor, version, report)
        edges = [EdgeSpec.between(here, End("artifact", report.pk, digest=report.pk, label="quality"), REPORT)]
        if name and not found:
            version = checked_version(actor, job, name, Artifact.objects.get(pk=digest), kind, report, meta)
            edges = edges_of(job, {}, version, SLOT)
            found = [version]
        else:
            ends = [end_of(version) for version in found[:1]] or [End("artifact", digest, digest, digest[:12])]
            edges += [EdgeSpec.between(end, here, SLOT) for end in ends]
        record_edges(actor=actor, project=job.project, edges=edges)
    return found


def holding(job: Job, digest: str, kind: str, name: str | None) -> list[DatasetVersion]:
    """The versions whose table these bytes are, read as the job read them; of the dataset `name` if one is named."""
    files = DatasetFile.objects.filter(artifact=digest, version__dataset__project_id=job.project_id)
    if name:
        files = files.filter(version__dataset__name=name)
    files = files.select_related("version__dataset").order_by("-version_id")[:MEASURED_AT_ONCE]
    same = (file for file in files if is_table(file.media_type) and dialect_of(file.media_type) == dialect_of(kind))
    return [file.version for file in same]


def checked_version(
    actor: Actor, job: Job, name: str, table: Artifact, kind: str, report: Artifact, meta: Mapping[str, Any]
) -> DatasetVersion:
    dialect = dialect_of(kind)
    version, _new = services.add_version(
        actor=actor,
        dataset=services.ensure_dataset(actor=actor, project=job.project, name=name),
        files=[(path_of(kind), table, kind)],
        media_type=kind,
        rows=meta.get("rows"),
        columns=meta.get("columns", []),
        script="upload",
        params=asdict(dialect) if dialect else {},
        job_id=job.pk,
        quality=report,
        note=job.name,
    )
    return version
