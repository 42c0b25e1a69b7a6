"""Tables that are uploaded: a version at once, or the job that makes it once it holds what the dataset expects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.data.datasets import services
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality import required_expectations
from apps.data.datasets.quality.profile_jobs import submit
from apps.data.datasets.queries import first_bytes
from apps.data.datasets.versions.manifest import CSV, check_kind, csv_type, manifest_text, path_of
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job
from deepseek.tables.csv_dialect import AUTO, CsvDialect

HEAD = 4096  # bytes that tell which kind of table a file is


def check_upload(
    *, actor: Actor, project: Project, dataset_name: str, artifact: Artifact, dialect: CsvDialect | None, note: str = ""
) -> tuple[Job, bool]:
    """Queue the job whose success makes a version of these bytes: the dataset demands a check, or the web process
    cannot read them.

    `dialect` None: no CSV file. `note` becomes the job's name and the version's note.
    """
    policy.require(actor, "dataset.add_version", project)
    spec = {"csv": asdict(dialect)} if dialect is not None else {}
    return submit(actor, project, artifact.pk, spec, name=note[:120], register={"dataset": dataset_name})


def add_upload(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    artifact: Artifact,
    delimiter: str = AUTO,
    encoding: str = AUTO,
    note: str = "",
) -> tuple[DatasetVersion, bool] | Job:
    """`services.upload_csv`; or, where the dataset demands a check first, the job that makes the version if it holds.

    What is "auto" is found in the file, and recorded as if it had been asked for. The file is read through in both
    cases, so what is wrong with it is told at once. Bytes that are a version already need no check.
    """
    policy.require(actor, "dataset.add_version", project)
    demanding = required_expectations.demanding(project, dataset_name)
    services.check_name(dataset_name)
    services.check_text("note", note)
    services.check_held(project.pk, [artifact])
    check_kind(first_bytes(artifact.pk, HEAD)[0], CSV)
    dialect = services.read_as(project, artifact, delimiter, encoding)
    asked: dict[str, Any] = {**asdict(dialect), "note": note}
    if demanding is None or known(demanding, artifact, csv_type(dialect)):
        return services.upload_csv(
            actor=actor,
            project=project,
            dataset_name=dataset_name,
            artifact=artifact,
            **asked,
        )
    policy.require(actor, "job.submit", project)
    services.read_through(project, artifact, dialect)
    return check_upload(
        actor=actor, project=project, dataset_name=dataset_name, artifact=artifact, dialect=dialect, note=note
    )[0]


def add_table(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    artifact: Artifact,
    kind: str,
    note: str = "",
    unread: bool = False,
) -> tuple[DatasetVersion, bool] | Job:
    """A version of a Parquet, JSON lines or Arrow file (`kind`: its media type), by the job that reads it through.

    `unread`: at once, its rows unknown until a job measures it, where the dataset demands no check. Bytes that are a
    version already need no job. Raises Invalid for a file that does not begin as one of that kind.
    """
    policy.require(actor, "dataset.add_version", project)
    services.check_name(dataset_name)
    services.check_text("note", note)
    services.check_held(project.pk, [artifact])
    check_kind(first_bytes(artifact.pk, HEAD)[0], kind)
    to: dict[str, Any] = {"actor": actor, "project": project, "dataset_name": dataset_name, "note": note}
    there = Dataset.objects.filter(project=project, name=dataset_name).first()
    if (there is not None and known(there, artifact, kind)) or (
        unread and required_expectations.demanding(project, dataset_name) is None
    ):
        return services.add_files(files=[(path_of(kind), artifact.pk, kind)], **to)
    policy.require(actor, "job.submit", project)
    return check_upload(artifact=artifact, dialect=None, **to)[0]


def known(dataset: Dataset, artifact: Artifact, kind: str) -> bool:
    """Whether these bytes, read so, are a version of the dataset already."""
    digest = sha256_hex(manifest_text([(path_of(kind), artifact, kind)]))
    return DatasetVersion.objects.filter(dataset=dataset, digest=digest, deleted_at=None).exists()
