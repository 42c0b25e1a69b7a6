"""Writes of datasets: create one, add a version, attach its quality report. A version never changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from django.db import IntegrityError, connection, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.data.datasets.ingest import csv_inspection
from apps.data.datasets.ingest.parts_inspection import inspect_parts
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.provenance.job_inputs import build_edges, find_source_versions
from apps.data.datasets.provenance.row_origin_runs import read_row_origins
from apps.data.datasets.quality.expectation_gate import check_expectations
from apps.data.datasets.queries import iter_chunks
from apps.data.datasets.versions.legacy_paths import LegacyPaths
from apps.data.datasets.versions.manifest import (
    UPLOAD_PATH,
    check_dialect_options,
    check_files,
    choose_media_type,
    format_csv_type,
    guess_media_type,
    is_table_of_parts,
)
from apps.data.datasets.versions.registration import (
    add_version,
    check_held,
    check_name,
    check_readable,
    check_text,
    ensure_dataset,
    insert_dataset,
)
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import require_undamaged
from apps.platform.audit import services as audit
from apps.platform.jobs.models import Job
from apps.platform.lineage.services import record_edges
from deepseek.messages import N_
from deepseek.tables.csv_dialect import AUTO, CsvDialect
from deepseek.tables.csv_records import CsvInspection

JobOutputRow = tuple[str, Artifact, str, str, Mapping[str, Any]]
"""(slot, artifact, name, media type, meta): what jobs.services.succeed_job takes"""


def create_dataset(*, actor: Actor, project: Project, name: str, description: str = "") -> Dataset:
    """Create a dataset without versions. Raises Invalid for a bad name, Conflict for one that exists."""
    policy.require(actor, "dataset.create", project)
    check_name(name)
    check_text("description", description)
    try:
        with transaction.atomic():
            return insert_dataset(actor, project, name, description)
    except IntegrityError:
        raise Conflict(
            "The project has a dataset {name!r} already.",
            name=name,
            code="dataset_exists",
            field="name",
            hint=N_("Add a version to it, or choose another name."),
        ) from None


def upload_csv(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    artifact: Artifact,
    chunks: Iterable[bytes] | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    note: str = "",
) -> tuple[DatasetVersion, bool]:
    """Parse a stored CSV file and add it as a version, creating the dataset if there is none.

    Bounded memory, no transaction while reading. `chunks`: the file's bytes if the caller has them, else they come
    from the store. Whatever is wrong with the file is Invalid (see inspect_csv), and then nothing is made.
    """
    policy.require(actor, "dataset.add_version", project)
    check_name(dataset_name)
    check_text("note", note)
    inspection = inspect_stored_csv(project, artifact, CsvDialect(delimiter, encoding), chunks)
    kind = format_csv_type(CsvDialect(delimiter, encoding))
    with transaction.atomic():
        return add_version(
            actor=actor,
            dataset=ensure_dataset(actor=actor, project=project, name=dataset_name),
            files=[(UPLOAD_PATH, artifact, kind)],
            media_type=kind,
            rows=inspection.rows,
            columns=inspection.columns,
            script="upload",
            params={"delimiter": delimiter, "encoding": encoding},
            note=note,
        )


def inspect_stored_csv(
    project: Project, artifact: Artifact, dialect: CsvDialect, chunks: Iterable[bytes] | None = None
) -> CsvInspection:
    """Rows and columns of a stored CSV file that the project holds, every row read; Invalid for what is wrong."""
    check_held(project.pk, [require_undamaged(artifact)])
    if not connection.in_atomic_block:
        connection.close()  # minutes of reading must not keep one of the pool's connections
    source = iter_chunks(artifact) if chunks is None else chunks
    return csv_inspection.inspect_file(source, artifact.size, dialect)


def resolve_dialect(project: Project, artifact: Artifact, delimiter: str, encoding: str) -> CsvDialect:
    """How a stored CSV file is to be read: as asked, and what is "auto" as it is found in the file (find_dialect)."""
    check_dialect_options(delimiter, encoding)
    if AUTO not in (delimiter, encoding):
        return CsvDialect(delimiter, encoding)
    check_held(project.pk, [require_undamaged(artifact)])
    if not connection.in_atomic_block:
        connection.close()  # as in inspect_stored_csv
    with closing(iter_chunks(artifact)) as chunks:
        return csv_inspection.find_file_dialect(chunks, artifact.size, delimiter, encoding)


def add_files(
    *, actor: Actor, project: Project, dataset_name: str, files: Sequence[tuple[str, str, str]], note: str = ""
) -> tuple[DatasetVersion, bool]:
    """A version of artifacts that the project holds: (path, digest, media type or "" for what the path suggests).

    Several Parquet files are the parts of one table, which must have the same columns. Rows and columns of other files
    stay unknown until a job measures them; what the dataset expects is checked at once. Makes the dataset if the
    project has none. Raises Invalid naming the file that is wrong, and as inspect_parts and check_expectations.
    """
    policy.require(actor, "dataset.add_version", project)
    check_name(dataset_name)
    check_readable(actor, project.pk, [digest for _, digest, _ in files])
    artifacts = Artifact.objects.in_bulk([digest for _, digest, _ in files])
    check_held(project.pk, [artifacts.get(digest, Artifact(digest=digest)) for _, digest, _ in files])
    rows = [(path, artifacts[digest], media_type or guess_media_type(path)) for path, digest, media_type in files]
    check_files(rows, LegacyPaths(project.pk, dataset_name))
    parts = inspect_parts(rows) if is_table_of_parts(rows) else None
    checked = check_expectations(actor, project, dataset_name, rows)
    with transaction.atomic():
        return add_version(
            actor=actor,
            dataset=ensure_dataset(actor=actor, project=project, name=dataset_name),
            files=rows,
            media_type=choose_media_type(rows),
            rows=parts.total_rows if parts else None,
            columns=parts.columns if parts else [],
            script="register",
            params={},
            note=note,
            checked=checked,
            part_rows=parts.rows if parts else None,
        )


def set_quality(*, actor: Actor, version: DatasetVersion, artifact: Artifact) -> DatasetVersion:
    """Attach the quality report, once: it is measured, not edited. The same report again changes nothing.

    Raises Conflict where another report stands, Invalid where the project does not hold the artifact.
    """
    policy.require(actor, "dataset.set_quality", version)
    check_held(version.project_id, [artifact])
    attach_quality(actor, version, artifact)
    if version.quality_id != artifact.digest:
        raise Conflict(
            "{version} has a quality report already.",
            version=version,
            code="quality_exists",
            field="quality",
            hint=N_("A report is measured once; other bytes are another version."),
        )
    return version


def attach_quality(actor: Actor, version: DatasetVersion, artifact: Artifact) -> None:
    """Attach the report unless there is one (compare-and-set); `version` then has the report that stands."""
    with transaction.atomic():
        if DatasetVersion.objects.filter(pk=version.pk, quality=None).update(quality=artifact):
            audit.record(
                actor=actor,
                action="dataset.set_quality",
                obj=version,
                after={"quality": artifact.digest},
                digests={"manifest": version.digest, "quality": artifact.digest},
            )
    version.refresh_from_db(fields=["quality"])


def add_version_from_job_output(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    outputs: Sequence[JobOutputRow],
    job: Job,
    script: str,
    params: Mapping[str, Any],
    slot: str = "table",
    note: str = "",
) -> tuple[DatasetVersion, bool]:
    """Register a job's output in `slot` as a version (uploads: ingest/), creating the dataset. Reads no bytes.

    A table in parts has an output SLOT/PATH for each, which are the files of the version.
    The report in "quality_after" becomes the version's, the one in "quality_before" its source's, where they have
    none. Lineage: what went into the job, the job, the version; by row, what the output says of the origin of its rows.
    Registered twice is registered once.
    Call it inside the transaction that ends the job. Raises Invalid if the job has no such output.
    """
    policy.require(actor, "dataset.add_version", project)
    policy.require(actor, "dataset.set_quality", project)
    outputs_by_slot = {row[0]: row for row in outputs}
    parts = [row for row in outputs if row[0] == slot or row[0].startswith(f"{slot}/")]
    if not parts:
        raise Invalid(
            "Job {job_pk} made no output {slot!r}.",
            job_pk=job.pk,
            slot=slot,
            code="output_missing",
            field="slot",
            limit=", ".join(outputs_by_slot) or "none",
        )
    _, _, _, media_type, meta = parts[0]
    has_parts = parts[0][0] != slot
    rows: list[Any] = [part[4].get("rows") for part in parts]
    with transaction.atomic():
        dataset = ensure_dataset(actor=actor, project=project, name=dataset_name)
        sources = find_source_versions(job, dataset)
        version, created = add_version(
            actor=actor,
            dataset=dataset,
            files=[
                (row_slot.removeprefix(f"{slot}/") if has_parts else name, artifact, kind)
                for row_slot, artifact, name, kind, _ in parts
            ],
            media_type=media_type,
            rows=None if None in rows else sum(rows),
            columns=meta.get("columns", []),
            script=script,
            params=params,
            job_id=job.pk,
            note=note,
            part_rows={row_slot.removeprefix(f"{slot}/"): about["rows"] for row_slot, _, _, _, about in parts}
            if has_parts and None not in rows
            else None,
            rows_from=read_row_origins(meta, outputs_by_slot, sources.get("table")),
        )
        for target, report in ((version, "quality_after"), (sources.get(slot), "quality_before")):
            if (
                target is not None and report in outputs_by_slot
            ):  # the first measurement stands: two jobs may clean one version
                attach_quality(actor, target, outputs_by_slot[report][1])
        record_edges(actor=actor, project=project, edges=build_edges(job, sources, version, slot))
    return version, created
