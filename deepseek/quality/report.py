"""The quality report of a table: what a person, a lineage record or a dashboard wants to know of it, as strict JSON.

The table comes as record batches that can be read again, so its length costs time and no memory: see docs/quality.md
for what is exact at which size.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepseek.job import JSON
from deepseek.quality.drift_spec import drift_of
from deepseek.quality.measures.column import ColumnMeasure
from deepseek.quality.measures.distinct import STANDARD_ERROR, Budget, Repeats
from deepseek.quality.measures.hashing import hash_rows
from deepseek.quality.measures.numbers import HeldBudget, floats_of, histogram
from deepseek.quality.measures.relations import (
    CATEGORIES,
    CATEGORY_COLUMNS,
    NUMERIC_COLUMNS,
    Associations,
    Correlations,
)
from deepseek.quality.measures.selection import Floats
from deepseek.tables.batches import Batches, TableBatches

__all__ = ["MEDIA_TYPE", "PREVIEW_CHARACTERS", "SCHEMA", "histogram", "profile"]

SCHEMA = "plane/quality-report/v3"
"""v3 adds to v2: how exact a count is, of text its lengths, of few values all, of numbers the share below a hundred of
them, correlations, drift and expectations. v2 added to v1: of a column `top`, of its dates `histogram`, `out_of_order`
and `repeated`. Nothing was ever taken away."""
MEDIA_TYPE = "application/vnd.plane.quality+json"
PREVIEW_ROWS, PREVIEW_CHARACTERS = 50, 200


def profile(
    batches: Batches | pa.Table,
    *,
    warnings: Sequence[str] = (),
    advance: Callable[[int], None] = lambda rows: None,
    parent: Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    held: int | None = None,
) -> dict[str, JSON]:
    """The report of a table whose columns are as `read_table` leaves them. Numbers that are not finite become null.

    The batches are read two to eight times, so let them come of something that is cheap to read again. `parent`: the
    report to tell the drift from. `scratch`: where the hashes of the rows go if they are too many (8 bytes a row), else
    the system's temporary folder. `held`: numbers that may be held in memory, for tests. `advance` is told rows that
    are done in proportion to the passes done, the last time all of them.
    """
    source = TableBatches(batches) if isinstance(batches, pa.Table) else batches
    with Repeats(scratch) as repeats:
        measure = _TableMeasure(source, advance, repeats, HeldBudget() if held is None else HeldBudget(held))
        measure.run()
        report = measure.told(list(warnings))
    if parent is not None:
        report["drift"] = drift_of(parent, report)
    return report


class _TableMeasure:
    """All measures of a table, fed pass by pass."""

    def __init__(self, source: Batches, advance: Callable[[int], None], repeats: Repeats, held: HeldBudget) -> None:
        self.source, self.advance, self.repeats = source, advance, repeats
        budget, fields = Budget(), list(source.schema)
        self.columns = [ColumnMeasure(field, budget, held, len(fields)) for field in fields]
        self.rows = self.passes = 0
        self.comparable = True  # whether rows can be: not with a column of a nested type
        self.preview: list[pa.RecordBatch] = []
        self.correlations: Correlations | None = None
        self.associations: Associations | None = None

    def run(self) -> None:
        self._pass(self._first, self.source.rows)
        for column in self.columns:
            column.end_pass()
        related = False
        while True:
            wanting = [column for column in self.columns if column.wants]
            ready = not related and all(column.ranked for column in self.columns)
            if ready:
                related = True
                self._relate()
            if not wanting and not (ready and (self.correlations or self.associations)):
                break
            self._pass(lambda batch, wanting=wanting, ready=ready: self._later(batch, wanting, ready), self.rows)  # type: ignore[misc]
            for column in wanting:
                column.end_pass()
        self.advance(self.rows)

    def _pass(self, take: Callable[[pa.RecordBatch], None], rows: int | None) -> None:
        """One pass; each is taken to be half of what is left to do."""
        done, share = 1 - 0.5**self.passes, 0.5 ** (self.passes + 1)
        seen = 0
        for batch in self.source:
            take(batch)
            seen += batch.num_rows
            if rows:
                self.advance(int(rows * done + share * min(seen, rows)))
        self.passes += 1

    def _first(self, batch: pa.RecordBatch) -> None:
        if self.rows < PREVIEW_ROWS:
            self.preview.append(batch.slice(0, PREVIEW_ROWS - self.rows))
        self.rows += batch.num_rows
        hashes = [column.first(values) for column, values in zip(self.columns, batch.columns, strict=True)]
        known = [each for each in hashes if each is not None]
        self.comparable = self.comparable and len(known) == len(hashes)
        if self.comparable and known:
            self.repeats.add(hash_rows(known))

    def _later(self, batch: pa.RecordBatch, wanting: list[ColumnMeasure], ready: bool) -> None:
        wanted = {column.name for column in wanting}
        related = set(self.correlations.columns) if ready and self.correlations else set()
        floats: dict[str, Floats] = {}
        for column, values in zip(self.columns, batch.columns, strict=True):
            if column.numbers is not None and column.name in wanted | related:
                floats[column.name] = floats_of(values)
            if column.name in wanted:
                column.later(values, floats.get(column.name))
        if ready and self.correlations:
            self.correlations.add(floats)
        if ready and self.associations:
            self.associations.add(batch)

    def _relate(self) -> None:
        vary = {c.name: c.numbers for c in self.columns if c.numbers is not None and c.numbers.varies}
        names = list(vary)[:NUMERIC_COLUMNS]
        if len(names) > 1:
            self.correlations = Correlations(
                {name: vary[name].basis() for name in names},
                exact=all(vary[name].exact_ranks for name in names),
                left_out=list(vary)[NUMERIC_COLUMNS:],
            )
        few = {c.name: c.categories(CATEGORIES) for c in self.columns}
        known = {name: values for name, values in few.items() if values and len(values) > 1}
        names = list(known)
        if len(names) > 1:
            chosen = {name: known[name] for name in names[:CATEGORY_COLUMNS]}
            self.associations = Associations(chosen, names[CATEGORY_COLUMNS:])

    def told(self, warnings: list[str]) -> dict[str, JSON]:
        columns = [column.told(self.rows) for column in self.columns]
        return {
            "schema": SCHEMA,
            "rows": self.rows,
            "duplicate_rows": self.repeats.count() if self.comparable else None,
            "columns": columns,
            "correlations": self.correlations.told() if self.correlations else None,
            "associations": self.associations.told() if self.associations else None,
            "limits": {
                "correlated_columns": NUMERIC_COLUMNS,
                "associated_columns": CATEGORY_COLUMNS,
                "distinct_error": STANDARD_ERROR,
            },
            "preview": self._preview(),
            "warnings": list(warnings),
        }

    def _preview(self) -> JSON:
        head = pa.Table.from_batches(self.preview, schema=self.source.schema)
        columns = [[text_of(value) for value in column.to_pylist()] for column in head.columns]
        rows: list[JSON] = [list(row) for row in zip(*columns, strict=True)]
        return {"columns": list(head.column_names), "rows": rows}


def text_of(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]
