"""Row diffs of two versions: submit the job, and read the result of the latest one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.queries import MAX_REPORT_BYTES, get_main_file, read_first_bytes
from apps.data.datasets.versions.manifest import is_table, parse_dialect
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.messages import N_

KIND = "diff"
DIALECT_FIELDS = {"before": "csv_before", "after": "csv_after"}


@dataclass(frozen=True, slots=True)
class RowDiff:
    """The latest comparison of two versions. `found`: its summary (plane/table-diff/v1), once it has succeeded."""

    job: Job
    found: dict[str, Any] | None
    changes: str = ""  # digest of the table of everything that differs


def submit_diff(
    *, actor: Actor, project: Project, before: DatasetVersion, after: DatasetVersion, keys: Sequence[str]
) -> Job:
    """Queue the comparison of the tables of two versions. Raises Invalid for a version without a table, or no key."""
    if not keys:
        raise Invalid(
            "No column is chosen.", field="keys", limit="1 to 20 columns", hint=N_("Choose what names a row.")
        )
    tables = {"before": get_table(actor, before), "after": get_table(actor, after)}
    spec: dict[str, Any] = {"keys": list(keys)}
    for slot, file in tables.items():
        dialect = parse_dialect(file.media_type)
        if dialect is not None:
            spec[DIALECT_FIELDS[slot]] = asdict(dialect)
    submission = Submission(
        kind=KIND,
        spec=spec,
        inputs=[InputSpec(slot=slot, digest=file.artifact_id) for slot, file in tables.items()],
        name=f"{before} and {after}"[:120],
    )
    job, _ = submit_job(actor=actor, project=project, submission=submission)
    return job


def get_table(actor: Actor, version: DatasetVersion) -> DatasetFile:
    file = get_main_file(actor, version)
    if not is_table(file.media_type):
        raise Invalid(
            "{version} holds no table.",
            version=version,
            code="no_table",
            field="version",
            limit="a CSV, Parquet, JSON lines or Arrow file",
        )
    return file


def find_latest_diff(actor: Actor, before: DatasetVersion, after: DatasetVersion) -> RowDiff | None:
    """The newest comparison of exactly these two, in this order; None where there is none."""
    try:
        old, new = get_table(actor, before), get_table(actor, after)
    except Invalid:
        return None
    project = after.project_id
    took = JobInput.objects.filter(slot="before", artifact=old.artifact_id, job__kind=KIND, job__project=project)
    both = took.filter(job__inputs__slot="after", job__inputs__artifact=new.artifact_id).order_by("-job_id")
    newest = both.values_list("job_id", flat=True).first()
    job = Job.objects.visible_to(actor).filter(pk=newest).first() if newest else None
    if job is None:
        return None
    outputs = dict(JobOutput.objects.filter(job=job).values_list("slot", "artifact_id"))
    return RowDiff(job, read_summary(outputs.get("summary")), outputs.get("changes", ""))


def read_summary(digest: str | None) -> dict[str, Any] | None:
    if digest is None:
        return None
    try:
        data, is_complete = read_first_bytes(digest, MAX_REPORT_BYTES)
        summary: dict[str, Any] | None = json.loads(data) if is_complete else None
    except (PlaneError, ValueError):
        return None
    return summary
