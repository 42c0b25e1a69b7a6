"""Rows of a version's CSV table by the value of a column, for whoever knows a key and not the number of its row."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import find_table_file
from apps.data.datasets.versions.manifest import parse_dialect
from apps.data.datasets.versions.row_cells import MAX_BYTES_READ
from apps.data.datasets.versions.row_pages import iter_csv_records
from deepseek.messages import N_

MAX_MATCHES = 5


def find_keyed_row(actor: Actor, version: DatasetVersion, column: str, value: str) -> int:
    """The number of the one row, from 1, whose cell in the column is the value. Raises Invalid where there is none or
    more than one, for a column that the table has not, and for a table that is no CSV file or too long to be read."""
    policy.require(actor, "dataset.view", version)
    file = find_table_file(actor, version)
    dialect = parse_dialect(file.media_type) if file else None
    if file is None or dialect is None or file.artifact.size > MAX_BYTES_READ:
        raise Invalid(
            "Rows of {version} cannot be looked up by a column.",
            version=version,
            field="row",
            limit=f"a CSV file of at most {MAX_BYTES_READ} bytes",
            hint=N_("Give the number of the row."),
        )
    place: int | None = None
    rows: list[int] = []
    at = number = 0
    while at < file.artifact.size and len(rows) <= MAX_MATCHES:
        before = at
        for cells, after in iter_csv_records(file.artifact_id, dialect, at, file.artifact.size):
            at = after
            if place is None:
                place = find_column(version, cells, column)
                continue
            number += 1
            if place < len(cells) and cells[place] == value:
                rows.append(number)
        if at == before:
            break  # a record longer than what is read at once
    if len(rows) != 1:
        raise Invalid(
            "{count} rows of {version} have {content!r} in the column {column!r}.",
            count=len(rows),
            version=version,
            content=value[:60],
            column=column[:60],
            field="row",
            limit=f"one of the rows {', '.join(map(str, rows[:MAX_MATCHES]))}" if rows else "a value that one row has",
            hint=N_("Give the number of the row."),
        )
    return rows[0]


def find_column(version: DatasetVersion, names: list[str], column: str) -> int:
    if column in names:
        return names.index(column)
    raise Invalid(
        "{version} has no column {column!r}.",
        version=version,
        column=column[:60],
        field="row",
        limit=", ".join(names)[:500],
        hint=N_("Take one of these."),
    )
