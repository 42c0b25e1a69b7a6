"""Trace a row of a version back to the upload, or forward to the rows of later versions that came from it.

People and programs count rows from 1, as the preview does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import connection

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.provenance.row_origin_runs import find_output_rows, find_source_row
from apps.data.datasets.versions.manifest import is_table
from apps.data.datasets.versions.row_cells import RowCells, read_row_cells
from deepseek.messages import N_

MAX_HOPS = 100  # versions of one chain
MAX_VERSIONS = 100  # below a version, of which the rows are looked up
MAX_ROWS = 1000  # of one version that a row went into
MAX_RUN_BYTES = 64 * 2**20  # bytes of runs that one question reads
LAST_ROW = 2**62

SOURCE, INSERTED, NOT_RECORDED, CUT = "source", "inserted", "not_recorded", "cut"
"""How a way back ends: at bytes that no job made; at a row that a step put in; where no origin was kept; too long."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One version on the way back: the row there, the file that holds it, and its cells where they are cheap to read.

    `kept`: this row is the row at the same place of the version behind it.
    """

    version: DatasetVersion
    row: int
    file: DatasetFile | None = None
    kept: bool = False
    cells: RowCells | None = None


@dataclass(slots=True)
class RowOrigin:
    hops: list[Hop] = field(default_factory=list)
    ends: str = SOURCE


@dataclass(frozen=True, slots=True)
class DescendantRows:
    """Rows of a later version that a row went into, ascending; `hops` versions away. `more`: there are others."""

    version: DatasetVersion
    hops: int
    rows: list[int]
    more: bool = False


@dataclass(slots=True)
class RowDescendants:
    reached: list[DescendantRows] = field(default_factory=list)
    truncated: bool = False  # versions or runs beyond the limits were not looked at


# -- back -----------------------------------------------------------------------------------------------------------
def trace_origin(actor: Actor, version: DatasetVersion, row: int, *, cells: bool = True) -> RowOrigin:
    """Trace a row back to bytes that no job made, starting with this version. Three queries, a few narrow reads.

    Raises Invalid for a row that the version does not have.
    """
    policy.require(actor, "dataset.view", version)
    check_row(version, row)
    chain = query_chain(version, "id", "origin_version_id", MAX_HOPS)
    versions = load_versions(actor, list(chain))
    files = load_tables(list(versions))
    origin = RowOrigin()
    for pk in chain:
        hop_version = versions.get(pk)
        if hop_version is None:
            origin.ends = NOT_RECORDED
            return origin
        file = files.get(pk)
        row_cells = read_row_cells(file, row) if cells and file is not None else None
        origin.hops.append(Hop(hop_version, row, file, hop_version.keeps_rows, row_cells))
        if hop_version.origin_version_id is None:
            origin.ends = NOT_RECORDED if hop_version.job_id else SOURCE
            return origin
        if not hop_version.keeps_rows:
            before = find_source_row(hop_version.origins, row - 1) if hop_version.origins else None
            if before is None:
                origin.ends = INSERTED
                return origin
            row = before + 1
    origin.ends = CUT
    return origin


def check_row(version: DatasetVersion, row: int) -> None:
    last = version.rows if version.rows is not None else LAST_ROW
    if not 1 <= row <= last:
        raise Invalid(
            "{version} has no row {row}.",
            version=version,
            row=row,
            field="row",
            limit=f"1 to {last}" if last else "no row",
            hint=N_("Rows count from 1; the header is none."),
        )


# -- on -------------------------------------------------------------------------------------------------------------
def trace_descendants(actor: Actor, version: DatasetVersion, row: int) -> RowDescendants:
    """The rows of every later version that this row went into, the nearest versions first.

    The runs of a version are read whole, streamed; Descendants says when there was more than is read for one question.
    """
    policy.require(actor, "dataset.view", version)
    check_row(version, row)
    below = query_chain(version, "origin_version_id", "id", MAX_VERSIONS + 1)
    versions = load_versions(actor, list(below)[: MAX_VERSIONS + 1])
    descendants = RowDescendants(truncated=len(below) > MAX_VERSIONS)
    rows: dict[int, list[int]] = {version.pk: [row - 1]}
    left = MAX_RUN_BYTES
    for pk, hops in below.items():
        descendant = versions.get(pk)
        sought = rows.get(descendant.origin_version_id or 0) if descendant else None
        if descendant is None or not sought or pk == version.pk:
            continue
        if descendant.keeps_rows:
            output_rows = [
                row_number for row_number in sought if descendant.rows is None or row_number < descendant.rows
            ]
        elif descendant.origins is None:
            continue
        elif descendant.origins.size > left:
            descendants.truncated = True
            continue
        else:
            left -= descendant.origins.size
            output_rows = find_output_rows(descendant.origins, sought, descendant.rows, MAX_ROWS + 1)
        if output_rows:
            rows[pk] = output_rows[:MAX_ROWS]
            descendants.reached.append(
                DescendantRows(
                    descendant,
                    hops,
                    [row_number + 1 for row_number in output_rows[:MAX_ROWS]],
                    len(output_rows) > MAX_ROWS,
                )
            )
    return descendants


# -- rows of the database -------------------------------------------------------------------------------------------
CHAIN = """WITH RECURSIVE chain(id, hops) AS (
    SELECT CAST(%s AS bigint), 0 UNION
    SELECT v.{far}, chain.hops + 1 FROM chain JOIN {table} v ON v.{near} = chain.id
    WHERE v.{far} IS NOT NULL AND chain.hops < %s
) SELECT id, hops FROM chain ORDER BY hops, id LIMIT %s"""


def query_chain(version: DatasetVersion, near: str, far: str, most: int) -> dict[int, int]:
    """{version: hops from the first}, the nearest first: back, or on. One query; nothing is its own origin."""
    table = connection.ops.quote_name(DatasetVersion._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(CHAIN.format(table=table, near=near, far=far), [version.pk, most, most + 1])
        return dict(cursor.fetchall())


def load_versions(actor: Actor, keys: Sequence[int]) -> dict[int, DatasetVersion]:
    versions = DatasetVersion.objects.visible_to(actor).filter(pk__in=keys)
    versions = versions.select_related("dataset__project", "origins").defer("manifest", "params", "columns")
    return {version.pk: version for version in versions}


def load_tables(keys: Sequence[int]) -> dict[int, DatasetFile]:
    """The table of each version: its first file that is one."""
    files = DatasetFile.objects.filter(version__in=keys).select_related("artifact").order_by("version_id", "path")
    tables: dict[int, DatasetFile] = {}
    for file in files:
        if is_table(file.media_type):
            tables.setdefault(file.version_id, file)
    return tables
