"""Build the quality report of a table as strict JSON: for its page, lineage records and dashboards.

The table comes as record batches that can be read again, so its length costs time and no memory: see docs/quality.md
for what is exact at which size.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepseek.job import JSON
from deepseek.quality.drift_spec import compute_drift
from deepseek.quality.measures.associations import (
    MAX_ASSOCIATED_COLUMNS,
    MAX_CATEGORIES,
    MAX_CORRELATED_COLUMNS,
    Associations,
    Correlations,
)
from deepseek.quality.measures.column import ColumnMeasure
from deepseek.quality.measures.distinct import STANDARD_ERROR, HashBudget, RepeatedRows
from deepseek.quality.measures.hashing import hash_rows
from deepseek.quality.measures.numbers import ValueBudget, compute_histogram, convert_to_float64
from deepseek.quality.measures.selection import Floats
from deepseek.tables.batches import Batches, TableBatches

__all__ = ["MEDIA_TYPE", "PREVIEW_CHARACTERS", "SCHEMA", "build_quality_report", "compute_histogram"]

SCHEMA = "plane/quality-report/v3"
"""v3 adds to v2: how exact a count is, of text its lengths, of few values all, of numbers the share below a hundred of
them, correlations, drift and expectations. v2 added to v1: of a column `top`, of its dates `histogram`, `out_of_order`
and `repeated`. Nothing was ever taken away."""
MEDIA_TYPE = "application/vnd.plane.quality+json"
PREVIEW_ROWS, PREVIEW_CHARACTERS = 50, 200


def build_quality_report(
    batches: Batches | pa.Table,
    *,
    warnings: Sequence[str] = (),
    advance: Callable[[int], None] = lambda rows: None,
    parent: Mapping[str, Any] | None = None,
    scratch: Path | None = None,
    max_values: int | None = None,
) -> dict[str, JSON]:
    """The report of a table whose columns are as `read_table` leaves them. Numbers that are not finite become null.

    The batches are read two to eight times, so their source should be cheap to read again. `parent`: the report to
    compute the drift against. `scratch`: the folder for hashes of rows that exceed memory (8 bytes a row), else the
    system's temporary folder. `max_values`: numbers that may be held in memory, for tests. `advance` receives the rows
    done, in proportion to the passes done; the last call has all of them.
    """
    source = TableBatches(batches) if isinstance(batches, pa.Table) else batches
    with RepeatedRows(scratch) as repeats:
        measure = _TableMeasure(
            source, advance, repeats, ValueBudget() if max_values is None else ValueBudget(max_values)
        )
        measure.run()
        report = measure.to_report(list(warnings))
    if parent is not None:
        report["drift"] = compute_drift(parent, report)
    return report


class _TableMeasure:
    """All measures of a table, fed pass by pass."""

    def __init__(
        self, source: Batches, advance: Callable[[int], None], repeats: RepeatedRows, value_budget: ValueBudget
    ) -> None:
        self.source, self.advance, self.repeats = source, advance, repeats
        budget, fields = HashBudget(), list(source.schema)
        self.columns = [ColumnMeasure(field, budget, value_budget, len(fields)) for field in fields]
        self.rows = self.passes = 0
        self.comparable = True  # whether rows can be: not with a column of a nested type
        self.preview: list[pa.RecordBatch] = []
        self.correlations: Correlations | None = None
        self.associations: Associations | None = None

    def run(self) -> None:
        self._run_pass(self._measure_first_pass, self.source.rows)
        for column in self.columns:
            column.end_pass()
        related = False
        while True:
            pending = [column for column in self.columns if column.wants]
            ready = not related and all(column.ranked for column in self.columns)
            if ready:
                related = True
                self._prepare_relations()
            if not pending and not (ready and (self.correlations or self.associations)):
                break
            self._run_pass(partial(self._measure_later_pass, pending=pending, ready=ready), self.rows)
            for column in pending:
                column.end_pass()
        self.advance(self.rows)

    def _run_pass(self, take: Callable[[pa.RecordBatch], None], rows: int | None) -> None:
        """One pass; each is taken to be half of what is left to do."""
        done, share = 1 - 0.5**self.passes, 0.5 ** (self.passes + 1)
        rows_read = 0
        for batch in self.source:
            take(batch)
            rows_read += batch.num_rows
            if rows:
                self.advance(int(rows * done + share * min(rows_read, rows)))
        self.passes += 1

    def _measure_first_pass(self, batch: pa.RecordBatch) -> None:
        if self.rows < PREVIEW_ROWS:
            self.preview.append(batch.slice(0, PREVIEW_ROWS - self.rows))
        self.rows += batch.num_rows
        hashes = [column.first(values) for column, values in zip(self.columns, batch.columns, strict=True)]
        present_hashes = [column_hashes for column_hashes in hashes if column_hashes is not None]
        self.comparable = self.comparable and len(present_hashes) == len(hashes)
        if self.comparable and present_hashes:
            self.repeats.add(hash_rows(present_hashes))

    def _measure_later_pass(self, batch: pa.RecordBatch, pending: list[ColumnMeasure], ready: bool) -> None:
        names = {column.name for column in pending}
        related = set(self.correlations.columns) if ready and self.correlations else set()
        floats: dict[str, Floats] = {}
        for column, values in zip(self.columns, batch.columns, strict=True):
            if column.numbers is not None and column.name in names | related:
                floats[column.name] = convert_to_float64(values)
            if column.name in names:
                column.measure_again(values, floats.get(column.name))
        if ready and self.correlations:
            self.correlations.add(floats)
        if ready and self.associations:
            self.associations.add(batch)

    def _prepare_relations(self) -> None:
        vary = {c.name: c.numbers for c in self.columns if c.numbers is not None and c.numbers.varies}
        names = list(vary)[:MAX_CORRELATED_COLUMNS]
        if len(names) > 1:
            self.correlations = Correlations(
                {name: vary[name].get_correlation_basis() for name in names},
                exact=all(vary[name].exact_ranks for name in names),
                left_out=list(vary)[MAX_CORRELATED_COLUMNS:],
            )
        few = {c.name: c.list_categories(MAX_CATEGORIES) for c in self.columns}
        values_by_name = {name: values for name, values in few.items() if values and len(values) > 1}
        names = list(values_by_name)
        if len(names) > 1:
            chosen = {name: values_by_name[name] for name in names[:MAX_ASSOCIATED_COLUMNS]}
            self.associations = Associations(chosen, names[MAX_ASSOCIATED_COLUMNS:])

    def to_report(self, warnings: list[str]) -> dict[str, JSON]:
        columns = [column.to_report(self.rows) for column in self.columns]
        return {
            "schema": SCHEMA,
            "rows": self.rows,
            "duplicate_rows": self.repeats.count() if self.comparable else None,
            "columns": columns,
            "correlations": self.correlations.to_report() if self.correlations else None,
            "associations": self.associations.to_report() if self.associations else None,
            "limits": {
                "correlated_columns": MAX_CORRELATED_COLUMNS,
                "associated_columns": MAX_ASSOCIATED_COLUMNS,
                "distinct_error": STANDARD_ERROR,
            },
            "preview": self._build_preview(),
            "warnings": list(warnings),
        }

    def _build_preview(self) -> JSON:
        head = pa.Table.from_batches(self.preview, schema=self.source.schema)
        columns = [[format_preview_cell(value) for value in column.to_pylist()] for column in head.columns]
        rows: list[JSON] = [list(row) for row in zip(*columns, strict=True)]
        return {"columns": list(head.column_names), "rows": rows}


def format_preview_cell(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]
