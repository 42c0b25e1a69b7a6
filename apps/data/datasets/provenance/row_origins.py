"""Where a row of a version comes from, back to the upload, and into which rows of later versions a row went.

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
from apps.data.datasets.provenance.row_origin_runs import rows_made, source_row
from apps.data.datasets.versions.manifest import is_table
from apps.data.datasets.versions.row_cells import Cells, cells_at
from deepseek.messages import N_

MOST_HOPS = 100  # versions of one chain
MOST_VERSIONS = 100  # below a version, of which the rows are looked up
MOST_ROWS = 1000  # of one version that a row went into
SCANNED = 64 * 2**20  # bytes of runs that one question reads
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
    cells: Cells | None = None


@dataclass(slots=True)
class Origin:
    hops: list[Hop] = field(default_factory=list)
    ends: str = SOURCE


@dataclass(frozen=True, slots=True)
class Reached:
    """Rows of a later version that a row went into, ascending; `hops` versions away. `more`: there are others."""

    version: DatasetVersion
    hops: int
    rows: list[int]
    more: bool = False


@dataclass(slots=True)
class Descendants:
    reached: list[Reached] = field(default_factory=list)
    truncated: bool = False  # versions or runs beyond the limits were not looked at


# -- back -----------------------------------------------------------------------------------------------------------
def origin_of(actor: Actor, version: DatasetVersion, row: int, *, cells: bool = True) -> Origin:
    """The way of a row back to the bytes that no job made, this version first. Three queries, a few narrow reads.

    Raises Invalid for a row that the version does not have.
    """
    policy.require(actor, "dataset.view", version)
    check_row(version, row)
    chain = chain_of(version, "id", "origin_version_id", MOST_HOPS)
    versions = versions_at(actor, list(chain))
    files = tables_of(list(versions))
    found = Origin()
    for pk in chain:
        here = versions.get(pk)
        if here is None:
            found.ends = NOT_RECORDED
            return found
        file = files.get(pk)
        shown = cells_at(file, row) if cells and file is not None else None
        found.hops.append(Hop(here, row, file, here.keeps_rows, shown))
        if here.origin_version_id is None:
            found.ends = NOT_RECORDED if here.job_id else SOURCE
            return found
        if not here.keeps_rows:
            before = source_row(here.origins, row - 1) if here.origins else None
            if before is None:
                found.ends = INSERTED
                return found
            row = before + 1
    found.ends = CUT
    return found


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
def descendants_of(actor: Actor, version: DatasetVersion, row: int) -> Descendants:
    """The rows of every later version that this row went into, the nearest versions first.

    The runs of a version are read whole, streamed; Descendants says when there was more than is read for one question.
    """
    policy.require(actor, "dataset.view", version)
    check_row(version, row)
    below = chain_of(version, "origin_version_id", "id", MOST_VERSIONS + 1)
    versions = versions_at(actor, list(below)[: MOST_VERSIONS + 1])
    found = Descendants(truncated=len(below) > MOST_VERSIONS)
    rows: dict[int, list[int]] = {version.pk: [row - 1]}
    left = SCANNED
    for pk, hops in below.items():
        here = versions.get(pk)
        sought = rows.get(here.origin_version_id or 0) if here else None
        if here is None or not sought or pk == version.pk:
            continue
        if here.keeps_rows:
            made = [one for one in sought if here.rows is None or one < here.rows]
        elif here.origins is None:
            continue
        elif here.origins.size > left:
            found.truncated = True
            continue
        else:
            left -= here.origins.size
            made = rows_made(here.origins, sought, here.rows, MOST_ROWS + 1)
        if made:
            rows[pk] = made[:MOST_ROWS]
            found.reached.append(Reached(here, hops, [one + 1 for one in made[:MOST_ROWS]], len(made) > MOST_ROWS))
    return found


# -- rows of the database -------------------------------------------------------------------------------------------
CHAIN = """WITH RECURSIVE chain(id, hops) AS (
    SELECT CAST(%s AS bigint), 0 UNION
    SELECT v.{far}, chain.hops + 1 FROM chain JOIN {table} v ON v.{near} = chain.id
    WHERE v.{far} IS NOT NULL AND chain.hops < %s
) SELECT id, hops FROM chain ORDER BY hops, id LIMIT %s"""


def chain_of(version: DatasetVersion, near: str, far: str, most: int) -> dict[int, int]:
    """{version: hops from the first}, the nearest first: back, or on. One query; nothing is its own origin."""
    table = connection.ops.quote_name(DatasetVersion._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(CHAIN.format(table=table, near=near, far=far), [version.pk, most, most + 1])
        return dict(cursor.fetchall())


def versions_at(actor: Actor, keys: Sequence[int]) -> dict[int, DatasetVersion]:
    found = DatasetVersion.objects.visible_to(actor).filter(pk__in=keys)
    found = found.select_related("dataset__project", "origins").defer("manifest", "params", "columns")
    return {one.pk: one for one in found}


def tables_of(keys: Sequence[int]) -> dict[int, DatasetFile]:
    """The table of each version: its first file that is one."""
    files = DatasetFile.objects.filter(version__in=keys).select_related("artifact").order_by("version_id", "path")
    found: dict[int, DatasetFile] = {}
    for file in files:
        if is_table(file.media_type):
            found.setdefault(file.version_id, file)
    return found
