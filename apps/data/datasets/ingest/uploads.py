"""Ingest uploaded tables: add the version at once, or queue the job that adds it after checking the expectations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.data.datasets import services
from apps.data.datasets.ingest.parts_inspection import inspect_parts
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality import required_expectations
from apps.data.datasets.quality.expectation_gate import is_version
from apps.data.datasets.quality.profile_jobs import SLOT, submit_profile_job
from apps.data.datasets.queries import read_first_bytes
from apps.data.datasets.versions import registration
from apps.data.datasets.versions.legacy_paths import LegacyPaths
from apps.data.datasets.versions.manifest import (
    CSV,
    check_files,
    check_kind,
    format_csv_type,
    get_table_path,
    guess_media_type,
    is_table_of_parts,
    render_manifest,
)
from apps.data.datasets.versions.table_parts import build_part_input
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import InputSpec
from deepseek.tables.csv_dialect import AUTO, CsvDialect

HEAD_BYTES = 4096  # bytes that tell which kind of table a file is


def submit_add_version_job(
    *, actor: Actor, project: Project, dataset_name: str, artifact: Artifact, dialect: CsvDialect | None, note: str = ""
) -> tuple[Job, bool]:
    """Queue the job that adds these bytes as a version if it succeeds: the dataset requires a check, or the web process
    cannot parse them.

    `dialect` None: no CSV file. `note` becomes the job's name and the version's note.
    """
    policy.require(actor, "dataset.add_version", project)
    spec = {"csv": asdict(dialect)} if dialect is not None else {}
    table = [InputSpec(slot=SLOT, digest=artifact.pk)]
    return submit_profile_job(actor, project, table, spec, name=note[:120], register={"dataset": dataset_name})


def ingest_csv(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    artifact: Artifact,
    delimiter: str = AUTO,
    encoding: str = AUTO,
    note: str = "",
) -> tuple[DatasetVersion, bool] | Job:
    """Add a CSV file as a version; if the dataset requires a check, queue the job that adds it instead.

    A dialect of "auto" is detected and recorded as if it had been requested. The file is parsed in both cases, so its
    errors are reported at once. Bytes that are a version already need no check.
    """
    policy.require(actor, "dataset.add_version", project)
    demanding_dataset = required_expectations.find_demanding_dataset(actor, project, dataset_name)
    registration.check_name(dataset_name)
    registration.check_text("note", note)
    registration.check_held(project.pk, [artifact])
    check_kind(read_first_bytes(artifact.pk, HEAD_BYTES)[0], CSV)
    dialect = services.resolve_dialect(project, artifact, delimiter, encoding)
    options: dict[str, Any] = {**asdict(dialect), "note": note}
    if demanding_dataset is None or is_known_version(demanding_dataset, artifact, format_csv_type(dialect)):
        return services.upload_csv(
            actor=actor,
            project=project,
            dataset_name=dataset_name,
            artifact=artifact,
            **options,
        )
    policy.require(actor, "job.submit", project)
    services.inspect_stored_csv(project, artifact, dialect)
    return submit_add_version_job(
        actor=actor, project=project, dataset_name=dataset_name, artifact=artifact, dialect=dialect, note=note
    )[0]


def ingest_table(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    artifact: Artifact,
    kind: str,
    note: str = "",
    unread: bool = False,
) -> tuple[DatasetVersion, bool] | Job:
    """Add a Parquet, JSON lines or Arrow file (`kind`: its media type) as a version, by the job that parses it.

    `unread`: add it at once, with an unknown row count until it is profiled, unless the dataset requires a check.
    Bytes that are a version already need no job. Raises Invalid for a file that does not begin as one of that kind.
    """
    policy.require(actor, "dataset.add_version", project)
    registration.check_name(dataset_name)
    registration.check_text("note", note)
    registration.check_held(project.pk, [artifact])
    check_kind(read_first_bytes(artifact.pk, HEAD_BYTES)[0], kind)
    target: dict[str, Any] = {"actor": actor, "project": project, "dataset_name": dataset_name, "note": note}
    dataset = Dataset.objects.filter(project=project, name=dataset_name).first()
    if (dataset is not None and is_known_version(dataset, artifact, kind)) or (
        unread and required_expectations.find_demanding_dataset(actor, project, dataset_name) is None
    ):
        return services.add_files(files=[(get_table_path(kind), artifact.pk, kind)], **target)
    policy.require(actor, "job.submit", project)
    return submit_add_version_job(artifact=artifact, dialect=None, **target)[0]


def ingest_files(
    *, actor: Actor, project: Project, dataset_name: str, files: Sequence[tuple[str, str, str]], note: str = ""
) -> tuple[DatasetVersion, bool] | Job:
    """Add a version of these files, as services.add_files does; several Parquet files are the parts of one table.

    If the dataset requires a check, a job makes it of such a table, and then the version: a request cannot wait for it.
    """
    policy.require(actor, "dataset.add_version", project)
    target: dict[str, Any] = {"actor": actor, "project": project, "dataset_name": dataset_name, "note": note}
    types = [(path, media_type or guess_media_type(path)) for path, _, media_type in files]
    artifacts = Artifact.objects.in_bulk([digest for _, digest, _ in files])
    rows = [
        (path, artifacts[digest], kind)
        for (path, kind), (_, digest, _) in zip(types, files, strict=True)
        if digest in artifacts
    ]
    dataset = required_expectations.find_demanding_dataset(actor, project, dataset_name)
    if dataset is None or not is_table_of_parts(rows) or len(rows) < len(files) or is_version(dataset, rows):
        return services.add_files(files=files, **target)
    policy.require(actor, "job.submit", project)
    registration.check_text("note", note)
    registration.check_readable(actor, project.pk, [digest for _, digest, _ in files])
    registration.check_held(project.pk, [artifact for _, artifact, _ in rows])
    check_files(rows, LegacyPaths(project.pk, dataset_name))
    inspect_parts(rows)
    parts = [build_part_input(path, artifact.digest, SLOT) for path, artifact, _ in rows]
    return submit_profile_job(actor, project, parts, {}, name=note[:120], register={"dataset": dataset_name})[0]


def is_known_version(dataset: Dataset, artifact: Artifact, kind: str) -> bool:
    """Whether these bytes, parsed as this media type, are a version of the dataset already."""
    digest = sha256_hex(render_manifest([(get_table_path(kind), artifact, kind)]))
    return DatasetVersion.objects.filter(dataset=dataset, digest=digest, deleted_at=None).exists()
