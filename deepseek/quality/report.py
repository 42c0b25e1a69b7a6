"""Build the quality report of a table as strict JSON: for its page, lineage records and dashboards.

The table comes as record batches that can be read again, so its length costs time and no memory: see docs/quality.md
for what is exact at which size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from deepseek.job import JSON
from deepseek.partitions.rounds import Round, Rounds, run_rounds
from deepseek.quality.drift_spec import compute_drift
from deepseek.quality.measures.associations import (
    MAX_ASSOCIATED_COLUMNS,
    MAX_CATEGORIES,
    MAX_CORRELATED_COLUMNS,
    Associations,
    Correlations,
)
from deepseek.quality.measures.column import ColumnMeasure, ColumnPass, is_number
from deepseek.quality.measures.distinct import PARTITIONS as ROW_RANGES
from deepseek.quality.measures.distinct import (
    STANDARD_ERROR,
    HashBudget,
    RepeatedRows,
    RowHashes,
    count_different_rows,
)
from deepseek.quality.measures.hashing import hash_rows
from deepseek.quality.measures.numbers import (
    MAX_VALUES_IN_MEMORY,
    ValueBudget,
    compute_histogram,
    convert_to_float64,
)
from deepseek.quality.measures.selection import Floats
from deepseek.tables.batches import Batches, TableBatches

__all__ = ["MEDIA_TYPE", "PREVIEW_CHARACTERS", "SCHEMA", "build_quality_report", "compute_histogram"]

SCHEMA = "plane/quality-report/v3"
"""v3 adds to v2: how exact a count is, of text its lengths, of few values all, of numbers the share below a hundred of
them, correlations, drift and expectations. v2 added to v1: of a column `top`, of its dates `histogram`, `out_of_order`
and `repeated`. Nothing was ever taken away."""
MEDIA_TYPE = "application/vnd.plane.quality+json"
PREVIEW_ROWS, PREVIEW_CHARACTERS = 50, 200
ROW_BUCKETS = 16
"""Tasks that count the different rows of all partitions."""


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
    with TableMeasure(
        source.schema, scratch=scratch, max_values=max_values, rows=source.rows, advance=advance
    ) as measure:
        run_rounds(measure.rounds(), source)
        advance(measure.rows)
        report = measure.to_report(list(warnings))
    if parent is not None:
        report["drift"] = compute_drift(parent, report)
    return report


@dataclass
class FirstPass:
    """What the first pass has of one partition."""

    columns: list[ColumnMeasure]
    rows: int
    comparable: bool  # whether rows can be: not with a column of a nested type
    preview: list[pa.RecordBatch]
    row_hashes: RowHashes | None = None


@dataclass
class LaterPass:
    """What a later pass takes of a partition."""

    columns: list[ColumnPass]
    correlations: Correlations | None = None
    associations: Associations | None = None

    def begin_part(self) -> LaterPass:
        """This pass for one partition, with nothing taken."""
        return LaterPass(
            [column.begin_part() for column in self.columns],
            self.correlations and self.correlations.begin_part(),
            self.associations and self.associations.begin_part(),
        )

    def merge(self, part: LaterPass) -> None:
        """Take what a part has taken; parts come in the order of the rows."""
        for own, other in zip(self.columns, part.columns, strict=True):
            own.merge(other)
        if self.correlations and part.correlations:
            self.correlations.merge(part.correlations)
        if self.associations and part.associations:
            self.associations.merge(part.associations)

    def take(self, batch: pa.RecordBatch, numeric: Collection[str]) -> None:
        """A batch; `numeric`: the columns of numbers."""
        floats: dict[str, Floats] = {}
        names = {column.name for column in self.columns} | set(self.correlations.columns if self.correlations else ())
        for name in names & set(numeric):
            floats[name] = convert_to_float64(batch.column(name))
        for column in self.columns:
            column.take(batch.column(column.name), floats.get(column.name))
        if self.correlations:
            self.correlations.add(floats)
        if self.associations:
            self.associations.add(batch)


class TableMeasure:
    """All measures of a table, fed pass by pass and partition by partition.

    `partitions`: how many there are; more than one need `scratch`, a folder that every process sees.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        scratch: Path | None = None,
        max_values: int | None = None,
        partitions: int = 1,
        rows: int | None = None,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self.schema, self.scratch, self.partitions, self.advance = schema, scratch, partitions, advance
        self.expected_rows = rows
        self.value_budget = MAX_VALUES_IN_MEMORY if max_values is None else max_values
        self.repeats = RepeatedRows(scratch)
        self.rows = self.passes = 0
        self.columns: list[ColumnMeasure] = []
        self.comparable = True
        self.preview: list[pa.RecordBatch] = []
        self.duplicates: int | None = None
        self.correlations: Correlations | None = None
        self.associations: Associations | None = None
        self.is_related = False
        self.later: LaterPass | None = None

    def __enter__(self) -> Self:
        self.repeats.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.repeats.__exit__(kind, error, at)

    def rounds(self) -> Rounds[None]:
        """The passes: the first, and later ones as long as a measure needs them."""
        shuffles = self.partitions > 1
        yield Round(
            self._scan_first,
            self._merge_first,
            self._accept,
            self._count_different_rows if shuffles else None,
            ROW_BUCKETS if shuffles else 0,
        )
        while self.later is not None:
            yield Round(self._scan_later, self._merge_later, self._accept)

    def _accept(self, shared: LaterPass | None, _: None) -> None:
        self.later = shared

    def _read_pass(self, source: Batches) -> Iterator[pa.RecordBatch]:
        """The batches of one pass; each pass is taken to be half of what is left to do."""
        done, share = 1 - 0.5**self.passes, 0.5 ** (self.passes + 1)
        rows = self.expected_rows if self.passes == 0 else self.rows
        rows_read = 0
        for batch in source:
            yield batch
            rows_read += batch.num_rows
            if rows:
                self.advance(int(rows * done + share * min(rows_read, rows)))
        self.passes += 1

    # -- the first pass
    def _scan_first(self, source: Batches) -> FirstPass:
        budget, values = HashBudget(), ValueBudget(self.value_budget)
        columns = [ColumnMeasure(field, budget, values, len(self.schema)) for field in self.schema]
        part = FirstPass(columns, 0, True, [])
        for batch in self._read_pass(source):
            self._take_first(part, batch)
        if self.partitions > 1 and part.comparable and self.scratch is not None:
            part.row_hashes = self.repeats.export(self.scratch)
            self.repeats.__exit__(None, None, None)
        return part

    def _take_first(self, part: FirstPass, batch: pa.RecordBatch) -> None:
        if part.rows < PREVIEW_ROWS:
            part.preview.append(batch.slice(0, PREVIEW_ROWS - part.rows))
        part.rows += batch.num_rows
        hashes = [column.first(values) for column, values in zip(part.columns, batch.columns, strict=True)]
        present_hashes = [column_hashes for column_hashes in hashes if column_hashes is not None]
        part.comparable = part.comparable and len(present_hashes) == len(hashes)
        if part.comparable and present_hashes:
            self.repeats.add(hash_rows(present_hashes))

    def _count_different_rows(self, bucket: int, states: Sequence[FirstPass]) -> int:
        parts = [state.row_hashes for state in states if state.row_hashes is not None]
        if len(parts) < len(states):
            return 0
        size = ROW_RANGES // ROW_BUCKETS
        return count_different_rows(parts, range(bucket * size, (bucket + 1) * size))

    def _merge_first(self, states: Sequence[FirstPass], reduced: Sequence[int]) -> tuple[LaterPass | None, list[None]]:
        first, *others = states
        self.columns = first.columns
        for part in others:
            for column, other in zip(self.columns, part.columns, strict=True):
                column.merge(other)
        self.rows = sum(part.rows for part in states)
        self.comparable = all(part.comparable for part in states)
        if self.comparable:
            self.duplicates = self.repeats.count() if self.partitions == 1 else self.rows - sum(reduced)
        left = PREVIEW_ROWS
        for batch in (batch for part in states for batch in part.preview):
            self.preview.append(batch.slice(0, left))
            left -= self.preview[-1].num_rows
        for column in self.columns:
            column.end_pass()
        return self._begin_later(), [None] * len(states)

    # -- the later passes
    def _begin_later(self) -> LaterPass | None:
        """What is still to be measured; None at the end."""
        later = LaterPass([column.begin_pass() for column in self.columns if column.wants])
        if not self.is_related and all(column.ranked for column in self.columns):
            self.is_related = True
            self._prepare_relations()
            later.correlations, later.associations = self.correlations, self.associations
        return later if later.columns or later.correlations or later.associations else None

    def _scan_later(self, source: Batches) -> LaterPass:
        if self.later is None:
            raise RuntimeError("there is no later pass")
        part = self.later if self.partitions == 1 else self.later.begin_part()
        numeric = [field.name for field in self.schema if is_number(field.type)]
        for batch in self._read_pass(source):
            part.take(batch, numeric)
        return part

    def _merge_later(self, states: Sequence[LaterPass], _: Any) -> tuple[LaterPass | None, list[None]]:
        for part in states:
            if self.later is not None and part is not self.later:
                self.later.merge(part)
        pending = {column.name for column in self.later.columns} if self.later else set()
        for column in self.columns:
            if column.name in pending:
                column.end_pass()
        return self._begin_later(), [None] * len(states)

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
            "duplicate_rows": self.duplicates,
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
        head = pa.Table.from_batches(self.preview, schema=self.schema)
        columns = [[format_preview_cell(value) for value in column.to_pylist()] for column in head.columns]
        rows: list[JSON] = [list(row) for row in zip(*columns, strict=True)]
        return {"columns": list(head.column_names), "rows": rows}


def format_preview_cell(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]
