"""Queries of datasets and versions, limited to what the actor may see, and reads of a version's contents."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import OuterRef, Q, Subquery

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, PlaneError
from apps.data.datasets.models import Dataset, DatasetFile, DatasetQuerySet, DatasetVersion, DatasetVersionQuerySet
from apps.data.datasets.versions.manifest import CSV, OTHER_TABLE_TYPES, TABLES, is_table, parse_dialect
from apps.data.datasets.versions.table_parts import get_table_slot
from apps.data.datasets.versions.tags import is_tag
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import open_verified
from apps.platform.jobs.models import Job, JobInput
from deepseek.messages import N_, Message
from deepseek.tables.csv_dialect import CsvDialect

PREVIEW_BYTES = 256 * 2**10
PREVIEW_ROWS = 50
PREVIEW_CHARACTERS = 200  # of a cell, as in the quality report
MAX_CONSUMERS = 100  # jobs that took a version; there may be more
MAX_FILES_SEARCHED = 50  # one by one for the jobs that took them; of a version of more all at once
MAX_FILES_LISTED = 1_000  # in the answer about a version; there may be 200,000
MAX_REPORT_BYTES = 32 * 2**20  # a report of 10,000 columns has about 20 MB
NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
IS_TABLE_FILE = Q(media_type__startswith=CSV) | Q(media_type__in=(*TABLES, *OTHER_TABLE_TYPES))
"""Files that is_table accepts, and perhaps others whose media type begins with text/csv."""


@dataclass(frozen=True, slots=True)
class RowPreview:
    """The first rows as text, None where a cell is missing. `note` says why there is nothing to show."""

    columns: list[str]
    rows: list[list[str | None]] = field(default_factory=list)
    note: str = ""


class VersionDeleted(PlaneError):
    """The version was deleted."""

    status = 410
    code = "version_deleted"

    def __init__(self, version: DatasetVersion) -> None:
        super().__init__(
            f"{version} was deleted by {version.deleted_by}: {version.delete_reason}",
            field="version",
            hint=f"Its digest was {version.digest}: the same files make the same version again.",
        )


def list_datasets(actor: Actor, project: Project, *, query: str = "") -> DatasetQuerySet:
    """The project's datasets with `rows`, `size` and `changed_at` of the newest version (None: no version yet).

    `query`: a part of the name, the description or a keyword; empty does not narrow.
    """
    policy.require(actor, "dataset.view", project)
    matches = Q()
    if query:
        matches = Q(name__icontains=query) | Q(description__icontains=query) | Q(keywords__icontains=query)
    newest = query_newest_version(OuterRef("pk"))
    return (
        Dataset.objects.visible_to(actor)
        .filter(matches, project=project)
        .annotate(
            rows=Subquery(newest.values("rows")),
            size=Subquery(newest.values("size")),
            changed_at=Subquery(newest.values("created_at")),
        )
    )


def query_newest_version(dataset: Any) -> DatasetVersionQuerySet:
    """The newest version of a dataset that is not deleted, as a queryset of at most one."""
    return DatasetVersion.objects.filter(dataset=dataset, deleted_at=None).order_by("-number")[:1]


def get_dataset(actor: Actor, project: Project, name: str) -> Dataset:
    """The dataset called `name`, annotated as in the list, or NotFound."""
    dataset = list_datasets(actor, project).filter(name=name).first()
    if dataset is None:
        raise NotFound(
            "This project has no dataset {name!r}.",
            name=name[:60],
            field="dataset",
            hint=N_("Upload one, or list them."),
        )
    return dataset


def list_versions(actor: Actor, dataset: Dataset) -> DatasetVersionQuerySet:
    """The versions of one dataset without their manifests, which may be large. Page them by `-number`."""
    policy.require(actor, "dataset.view", dataset)
    versions = DatasetVersion.objects.visible_to(actor).filter(dataset=dataset).select_related("dataset")
    return versions.annotate_commit().defer("manifest")


def build_number_filter(reference: str, limit: str = "a number from 1, or a digest of 64 hex digits") -> dict[str, Any]:
    """A filter by number or digest, of versions of datasets or models; Invalid for anything else."""
    if NUMBER.fullmatch(reference):
        return {"number": int(reference)}
    if DIGEST.fullmatch(reference):
        return {"digest": reference}
    raise Invalid(
        "{which!r} does not name a version.",
        which=reference[:70],
        field="version",
        limit=limit,
        hint=N_("List the versions there are."),
    )


def build_version_filter(reference: str) -> dict[str, Any]:
    """The filter that finds a version by its number, its digest, a commit that has it or a tag; Invalid for others.

    A commit belongs to the app of repositories, above: its rows are known here by the name of their relation alone.
    """
    if COMMIT.fullmatch(reference):
        return {"commits__sha": reference}
    if is_tag(reference):
        return {"tags__name": reference}
    return build_number_filter(reference, "a number from 1, a digest of 64 hex digits, a commit of 40, or a tag")


def get_version(actor: Actor, project: Project, name: str, reference: str) -> DatasetVersion:
    """A version by its number, digest, commit or tag, or NotFound (Gone if it is deleted); Invalid for nonsense."""
    policy.require(actor, "dataset.view", project)
    candidates = DatasetVersion.objects.filter(
        dataset__project=project, dataset__name=name, **build_version_filter(reference)
    )
    if not actor.is_cleared_for_all:  # of a dataset above the clearance it is not even said that a version was deleted
        candidates = candidates.filter(dataset__security_label__lte=actor.clearance)
    visible = candidates.visible_to(actor).select_related("dataset", "dataset__project", "quality")
    version = visible.annotate_commit().first()
    if version is None and (deleted := candidates.exclude(deleted_at=None).select_related("dataset").first()):
        raise VersionDeleted(deleted)
    if version is None:
        raise NotFound(
            "This project has no version {which} of a dataset {name!r}.",
            which=reference[:12],
            name=name[:60],
            field="version",
        )
    return version


def get_version_by_reference(actor: Actor, project: Project, name: str, reference: str) -> DatasetVersion:
    """A version of the dataset `name`, or of another one of the project as DATASET@VERSION."""
    dataset, at, version = reference.rpartition("@")
    return get_version(actor, project, dataset if at else name, version)


def list_files(actor: Actor, version: DatasetVersion, most: int | None = None) -> list[DatasetFile]:
    """The files of a version in the order of their paths, the first `most` of them, with their artifacts: one query."""
    policy.require(actor, "dataset.view", version)
    return load_files(version, most)


def load_files(version: DatasetVersion, most: int | None = None) -> list[DatasetFile]:
    """`files_of` for the answer to whoever has just made this version, whose token need not have the scope read."""
    return list(version.files.select_related("artifact").order_by("path")[:most])


def find_table_file(actor: Actor, version: DatasetVersion) -> DatasetFile | None:
    """The first file of a version that is a table."""
    policy.require(actor, "dataset.view", version)
    return find_first_table(version)


def find_first_table(version: DatasetVersion) -> DatasetFile | None:
    """`find_table_file` for a caller who has just added the version and may lack the scope read."""
    tables = version.files.filter(IS_TABLE_FILE)
    return next(
        (file for file in tables.select_related("artifact").order_by("path")[:10] if is_table(file.media_type)), None
    )


def get_file(actor: Actor, version: DatasetVersion, path: str) -> DatasetFile:
    """The file at this path, or NotFound."""
    policy.require(actor, "dataset.view", version)
    file = version.files.select_related("artifact").filter(path=path).first()
    if file is None:
        raise NotFound(
            "{version} has no file {path!r}.",
            version=version,
            path=path[:80],
            field="path",
            hint=N_("Its manifest lists its files."),
        )
    return file


def get_main_file(actor: Actor, version: DatasetVersion) -> DatasetFile:
    """The table of a version, which jobs take as their input: its first file that is one, else its only file.

    Raises Invalid where that leaves a choice.
    """
    table = find_table_file(actor, version)
    if table is not None:
        return table
    files = list_files(actor, version, 2)
    if len(files) == 1:
        return files[0]
    raise Invalid(
        "{version} has {count} files and none is a table.",
        version=version,
        count=version.files.count(),
        code="no_table",
        field="version",
        limit="a CSV, Parquet, JSON lines or Arrow file",
        hint=N_("Submit a job with the digests of the files that it shall take."),
    )


def get_single_table(actor: Actor, version: DatasetVersion) -> DatasetFile:
    """`get_main_file` for what reads one file: raises Invalid also for a table of several parts."""
    refuse_parts(version)
    return get_main_file(actor, version)


def refuse_parts(version: DatasetVersion) -> None:
    """Raise Invalid for a table of several parts, of which the first file would be taken for the whole."""
    if version.parts:
        raise Invalid(
            "{version} is a table of {count:,} parts, and one file is taken here.",
            version=version,
            count=version.parts,
            code="table_of_parts",
            field="version",
            limit="a table in one file",
            hint=N_("Clean it into one file first."),
        )


def read_preview(actor: Actor, version: DatasetVersion, limit: int = PREVIEW_ROWS) -> RowPreview:
    """The first rows of the version's table: of a CSV file from its first bytes, of others from the report."""
    policy.require(actor, "dataset.view", version)
    if not 1 <= limit <= PREVIEW_ROWS:
        raise Invalid(
            "limit is {most}.",
            most=limit,
            field="limit",
            limit=f"1 to {PREVIEW_ROWS}",
            hint=N_("Download the file for more."),
        )
    table = find_table_file(actor, version)
    names = [str(column.get("name", "")) for column in version.columns]
    if table is None:
        return RowPreview(names, note="This version holds no table.")
    dialect = parse_dialect(table.media_type)
    if dialect is not None:
        return preview_csv(table.artifact_id, dialect, limit)
    report = read_quality_report(actor, version)
    if report is None:
        return RowPreview(names, note="This table is shown once a job has measured it.")
    sample = report.get("preview") or {}
    return RowPreview(list(sample.get("columns", names)), [list(row) for row in sample.get("rows", [])[:limit]])


def preview_csv(digest: str, dialect: CsvDialect, limit: int) -> RowPreview:
    head, is_complete = read_first_bytes(digest, PREVIEW_BYTES)
    # Not `final` where more follows: a character cut in half at the end is then no fault.
    text = (
        codecs.getincrementaldecoder(dialect.encoding)("replace").decode(head, final=is_complete).removeprefix("\ufeff")
    )
    records: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
    try:
        for cells in reader:
            if cells:
                records.append(cells)
            if len(records) > limit + 1:
                break
    except csv.Error:
        pass  # a quote cut in half at the end of what was read; the upload checked the file whole
    if not is_complete and len(records) <= limit + 1:
        records = records[:-1]  # the last one may be cut
    if not records:
        return RowPreview([], note="The first row is too long to be shown.")
    return RowPreview(
        records[0], [[cell[:PREVIEW_CHARACTERS] or None for cell in row] for row in records[1 : limit + 1]]
    )


def read_quality_report(actor: Actor, version: DatasetVersion) -> dict[str, Any] | None:
    """The quality report (schema plane/quality-report/v1) that a job measured, or None as long as none has."""
    policy.require(actor, "dataset.view", version)
    if version.quality is None:
        return None
    data, is_complete = read_first_bytes(version.quality, MAX_REPORT_BYTES)
    if not is_complete:
        raise Invalid(
            "The quality report of {version} is too large to be shown.",
            version=version,
            field="quality",
            limit=f"{MAX_REPORT_BYTES} bytes",
            hint=Message("Download the artifact {quality_id}.", quality_id=version.quality_id),
        )
    report: dict[str, Any] = json.loads(data)
    return report


def read_first_bytes(of: Artifact | str, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes from the start of an artifact, and whether that is all of it."""
    with closing(iter_chunks(of)) as chunks:
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > limit:
                return bytes(data[:limit]), False
    return bytes(data), True


def list_consumer_jobs(
    actor: Actor, version: DatasetVersion, files: Sequence[DatasetFile], most: int = MAX_CONSUMERS
) -> list[Job]:
    """The newest jobs that took any of these files of the version as an input; of any, where they are more than
    FILES_SOUGHT. `slot` is where it went in.

    One more than `most` where there are more. Of each file no more inputs are read than that, by the index: a table may
    have gone into every job of the project, or into none of them.
    """
    policy.require(actor, "dataset.view", version)
    digests = sorted({file.artifact_id for file in files})
    if version.parts and files:  # who takes the table takes every part: one tells of all, and not an empty one
        digests = [max(files, key=lambda file: file.rows or 0).artifact_id]
    of_project = JobInput.objects.filter(job__project_id=version.project_id).order_by("-job_id", "slot")
    inputs = of_project.filter(artifact__in=DatasetFile.objects.filter(version=version).values("artifact"))
    if len(digests) <= MAX_FILES_SEARCHED:
        newest = (of_project.filter(artifact=digest).order_by("-job_id").values("pk")[: most + 1] for digest in digests)
        # Only the keys are asked for here: with the project beside them, SQLite goes through all its jobs instead.
        is_newest = reduce(or_, (Q(pk__in=keys) for keys in newest), Q(pk__in=()))
        inputs = JobInput.objects.filter(is_newest).order_by("-job_id", "slot")
    # What a list of them tells: of a hundred jobs the rest of their columns is what such a page costs.
    columns = [f"job__{name}" for name in ("project", "kind", "state", "created_at")]
    rows = inputs.select_related("job").only("slot", *columns)[: most + 1]
    if not version.parts:
        return [attach_slot(row) for row in rows]
    for row in rows:
        row.slot = get_table_slot(row.slot)
    return list({(row.job_id, row.slot): attach_slot(row) for row in rows}.values())


def attach_slot(job_input: JobInput) -> Job:
    """The job, with `slot` set to the input slot."""
    job = job_input.job
    job.slot = job_input.slot  # type: ignore[attr-defined]
    return job


def iter_chunks(of: Artifact | str) -> Generator[bytes, None, None]:
    """The bytes of an artifact, by itself or its digest, a piece at a time; Damaged where they are lost or others."""
    with closing(open_verified(of)) as reading:
        yield from reading
