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
from apps.data.datasets.versions.table_parts import build_table_inputs
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.messages import N_

KIND = "diff"
MAX_JOBS = 20  # comparisons of the same first parts that are looked through
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
        inputs=[
            table
            for slot, version in (("before", before), ("after", after))
            for table in build_table_inputs(version, str(tables[slot].artifact_id), slot)
        ],
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
    first, second = (
        build_table_inputs(before, str(old.artifact_id), "before"),
        build_table_inputs(after, str(new.artifact_id), "after"),
    )
    took = JobInput.objects.filter(slot=first[0].slot, artifact=first[0].digest, job__kind=KIND, job__project=project)
    both = took.filter(job__inputs__slot=second[0].slot, job__inputs__artifact=second[0].digest).order_by("-job_id")
    newest = next(
        (pk for pk in both.values_list("job_id", flat=True)[:MAX_JOBS] if has_inputs(pk, first, second)), None
    )
    job = Job.objects.visible_to(actor).filter(pk=newest).first() if newest else None
    if job is None:
        return None
    outputs = dict(JobOutput.objects.filter(job=job).values_list("slot", "artifact_id"))
    return RowDiff(job, read_summary(outputs.get("summary")), outputs.get("changes", ""))


def has_inputs(job_id: int, first: Sequence[InputSpec], second: Sequence[InputSpec]) -> bool:
    """Whether the job took these parts and no others; the caller has compared the first of either table."""
    if len(first) == len(second) == 1:
        return True
    slots = dict(JobInput.objects.filter(job=job_id).values_list("slot", "artifact_id"))
    return slots == {part.slot: part.digest for part in (*first, *second)}


def read_summary(digest: str | None) -> dict[str, Any] | None:
    if digest is None:
        return None
    try:
        data, is_complete = read_first_bytes(digest, MAX_REPORT_BYTES)
        summary: dict[str, Any] | None = json.loads(data) if is_complete else None
    except (PlaneError, ValueError):
        return None
    return summary
