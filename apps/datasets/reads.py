"""What pages, REST and services read of datasets: rows by what may be seen, and what is in a version."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from apps import policy
from apps.accounts.models import Project
from apps.actors import Actor
from apps.artifacts.services import Damaged
from apps.artifacts.store import store
from apps.datasets.manifest import Dialect, dialect_of, is_table
from apps.datasets.models import Dataset, DatasetFile, DatasetQuerySet, DatasetVersion, DatasetVersionQuerySet
from apps.errors import Invalid, NotFound
from apps.jobs.models import Job

PREVIEW_BYTES = 256 * 2**10
PREVIEW_ROWS = 50
PREVIEW_CHARACTERS = 200  # of a cell, as in the quality report
REPORT_BYTES = 32 * 2**20  # a report of 10,000 columns has about 20 MB
NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows as text, None where a cell is missing. `note` says why there is nothing to show."""

    columns: list[str]
    rows: list[list[str | None]] = field(default_factory=list)
    note: str = ""


def list_datasets(actor: Actor, project: Project, *, query: str = "") -> DatasetQuerySet:
    """The project's datasets with `rows`, `size` and `changed_at` of the newest version (None: no version yet).

    `query`: a part of the name or the description; empty does not narrow.
    """
    policy.require(actor, "dataset.view", project)
    named = Q(name__icontains=query) | Q(description__icontains=query) if query else Q()
    newest = DatasetVersion.objects.filter(dataset=OuterRef("pk"), number=OuterRef("versions_count"))
    return (
        Dataset.objects.visible_to(actor)
        .filter(named, project=project)
        .annotate(
            rows=Subquery(newest.values("rows")),
            size=Subquery(newest.values("size")),
            changed_at=Subquery(newest.values("created_at")),
        )
    )


def get_dataset(actor: Actor, project: Project, name: str) -> Dataset:
    """The dataset called `name`, annotated as in the list, or NotFound."""
    dataset = list_datasets(actor, project).filter(name=name).first()
    if dataset is None:
        raise NotFound(f"This project has no dataset {name[:60]!r}.", field="dataset", hint="Upload one, or list them.")
    return dataset


def list_versions(actor: Actor, dataset: Dataset) -> DatasetVersionQuerySet:
    """The versions of one dataset without their manifests, which may be large. Page them by `-number`."""
    policy.require(actor, "dataset.view", dataset)
    return DatasetVersion.objects.visible_to(actor).filter(dataset=dataset).select_related("dataset").defer("manifest")


def version_named(which: str) -> dict[str, Any]:
    """The filter that finds a version by its number or by its digest; Invalid for what is neither."""
    if NUMBER.fullmatch(which):
        return {"number": int(which)}
    if DIGEST.fullmatch(which):
        return {"digest": which}
    raise Invalid(
        f"{which[:70]!r} does not name a version.",
        field="version",
        limit="a number from 1, or a digest of 64 hex digits",
        hint="List the versions there are.",
    )


def get_version(actor: Actor, project: Project, name: str, which: str) -> DatasetVersion:
    """A version by its number or by its digest, or NotFound; Invalid for what is neither."""
    policy.require(actor, "dataset.view", project)
    found = (
        DatasetVersion.objects.visible_to(actor)
        .select_related("dataset", "dataset__project")
        .filter(dataset__project=project, dataset__name=name, **version_named(which))
        .first()
    )
    if found is None:
        raise NotFound(f"This project has no version {which[:12]} of a dataset {name[:60]!r}.", field="version")
    return found


def files_of(actor: Actor, version: DatasetVersion) -> list[DatasetFile]:
    """The files of a version in the order of their paths, with their artifacts: one query."""
    policy.require(actor, "dataset.view", version)
    return files_in(version)


def files_in(version: DatasetVersion) -> list[DatasetFile]:
    """`files_of` for the answer to whoever has just made this version, whose token need not have the scope read."""
    return list(version.files.select_related("artifact").order_by("path"))


def file_at(actor: Actor, version: DatasetVersion, path: str) -> DatasetFile:
    """The file at this path, or NotFound."""
    policy.require(actor, "dataset.view", version)
    found = version.files.select_related("artifact").filter(path=path).first()
    if found is None:
        raise NotFound(f"{version} has no file {path[:80]!r}.", field="path", hint="Its manifest lists its files.")
    return found


def main_file(actor: Actor, version: DatasetVersion) -> DatasetFile:
    """The table of a version, which jobs take as their input: its first file that is one, else its only file.

    Raises Invalid where that leaves a choice.
    """
    files = files_of(actor, version)
    table = next((file for file in files if is_table(file.media_type)), None)
    if table is not None:
        return table
    if len(files) == 1:
        return files[0]
    raise Invalid(
        f"{version} has {len(files)} files and none is a table.",
        code="no_table",
        field="version",
        limit="a CSV or Parquet file",
        hint="Submit a job with the digests of the files that it shall take.",
    )


def preview(actor: Actor, version: DatasetVersion, limit: int = PREVIEW_ROWS) -> Preview:
    """The first rows of the version's table: of a CSV file from its first bytes, of Parquet from the quality report."""
    policy.require(actor, "dataset.view", version)
    if not 1 <= limit <= PREVIEW_ROWS:
        raise Invalid(
            f"limit is {limit}.", field="limit", limit=f"1 to {PREVIEW_ROWS}", hint="Download the file for more."
        )
    table = next((file for file in files_of(actor, version) if is_table(file.media_type)), None)
    names = [str(column.get("name", "")) for column in version.columns]
    if table is None:
        return Preview(names, note="This version holds no table.")
    dialect = dialect_of(table.media_type)
    if dialect is not None:
        return csv_preview(table.artifact_id, dialect, limit)
    report = quality(actor, version)
    if report is None:
        return Preview(names, note="A Parquet file is shown once a job has measured it.")
    shown = report.get("preview") or {}
    return Preview(list(shown.get("columns", names)), [list(row) for row in shown.get("rows", [])[:limit]])


def csv_preview(digest: str, dialect: Dialect, limit: int) -> Preview:
    head, whole = first_bytes(digest, PREVIEW_BYTES)
    # Not `final` where more follows: a character cut in half at the end is then no fault.
    text = codecs.getincrementaldecoder(dialect.encoding)("replace").decode(head, final=whole).removeprefix("\ufeff")
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
    if not whole and len(records) <= limit + 1:
        records = records[:-1]  # the last one may be cut
    if not records:
        return Preview([], note="The first row is too long to be shown.")
    return Preview(records[0], [[cell[:PREVIEW_CHARACTERS] or None for cell in row] for row in records[1 : limit + 1]])


def quality(actor: Actor, version: DatasetVersion) -> dict[str, Any] | None:
    """The quality report (schema plane/quality-report/v1) that a job measured, or None as long as none has."""
    policy.require(actor, "dataset.view", version)
    if version.quality_id is None:
        return None
    data, whole = first_bytes(version.quality_id, REPORT_BYTES)
    if not whole:
        raise Invalid(
            f"The quality report of {version} is too large to be shown.",
            field="quality",
            limit=f"{REPORT_BYTES} bytes",
            hint=f"Download the artifact {version.quality_id}.",
        )
    report: dict[str, Any] = json.loads(data)
    return report


def first_bytes(digest: str, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes from the start of an artifact, and whether that is all of it."""
    with closing(chunks_of(digest)) as chunks:
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > limit:
                return bytes(data[:limit]), False
    return bytes(data), True


def users_of(actor: Actor, version: DatasetVersion) -> QuerySet[Job]:
    """Jobs that took any of the version's files as an input, newest first; `slot` is where it went in."""
    policy.require(actor, "dataset.view", version)
    return (
        Job.objects.visible_to(actor)
        .filter(project_id=version.project_id, inputs__artifact__in=version.files.values("artifact"))
        .annotate(slot=F("inputs__slot"))
        .order_by("-pk")
    )


def chunks_of(digest: str) -> Generator[bytes, None, None]:
    """The bytes of an artifact, a piece at a time; Damaged if the store has lost them."""
    try:
        reading = store().open(digest)
    except FileNotFoundError:
        raise Damaged(digest) from None
    with closing(reading):
        yield from reading
