"""All measures of one column, in the order of their passes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import JSON
from deepseek.quality.measures.dates import DateHistogram, DateMeasure
from deepseek.quality.measures.distinct import STANDARD_ERROR, DistinctCount, HashBudget
from deepseek.quality.measures.frequent_values import TextLengths, TopValues
from deepseek.quality.measures.hashing import Hashes, hash_column
from deepseek.quality.measures.numbers import NumericMeasure, ValueBudget, convert_to_float64
from deepseek.quality.measures.passes import MANY_COLUMNS, MeasurePass
from deepseek.quality.measures.selection import Floats

MAX_VALUE_CHARACTERS = 200


class ColumnMeasure:
    """`first` takes every batch once; while it `wants` more, `measure_again` takes them again."""

    def __init__(self, field: pa.Field, budget: HashBudget, value_budget: ValueBudget, columns: int) -> None:
        kind = field.type
        self.name, self.kind = field.name, kind
        self.missing = self.run = self.longest = self.rows = 0
        self.leading = 0  # rows before the first present value
        self.distinct: DistinctCount | None = DistinctCount(budget)
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        self.top = TopValues() if text or pa.types.is_boolean(kind) else None
        self.lengths = TextLengths() if text else None
        dated = text or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
        self.dates = DateMeasure(kind, budget) if dated else None
        self.numbers = NumericMeasure(value_budget, columns) if is_number(kind) else None
        self.many = columns > MANY_COLUMNS
        self.is_integer = pa.types.is_integer(kind)
        self.passes = 0

    def first(self, column: pa.Array) -> Hashes | None:
        """A batch of the first pass; gives back the hashes of its rows."""
        self._count_missing(column)
        self.rows += len(column)
        hashes = hash_column(column)
        if hashes is None:
            self.distinct = None
        elif self.distinct is not None and not pa.types.is_null(self.kind):
            present = hashes
            if column.null_count:
                present = hashes[column.is_valid().to_numpy(zero_copy_only=False)]
            self.distinct.add(present)
        for part in (self.top, self.lengths, self.dates):
            if part is not None:
                part.add(column)
        if self.numbers is not None:
            self.numbers.first(convert_to_float64(column))
            ends = pc.min_max(column).as_py() if self.is_integer else {"min": None}
            if ends["min"] is not None:
                ends_so_far = [*self.numbers.exact_ends, ends["min"], ends["max"]]
                self.numbers.exact_ends = [min(ends_so_far), max(ends_so_far)]
        return hashes

    def _count_missing(self, column: pa.Array) -> None:
        self.missing += column.null_count
        if not column.null_count:
            self.run = 0
            return
        mask = column.is_null().to_numpy(zero_copy_only=False)
        runs = measure_runs(mask)
        if self.leading == self.rows and mask[0]:
            self.leading += int(runs[0])
        if mask[0]:
            runs[0] += self.run
        self.longest = max(self.longest, int(runs.max()))
        self.run = int(runs[-1]) if mask[-1] else 0

    def merge(self, other: "ColumnMeasure") -> None:
        """Take what another has of the first pass, of rows behind these."""
        self.longest = max(self.longest, other.longest, self.run + other.leading)
        self.leading += other.leading if self.leading == self.rows else 0
        self.run = other.run + (self.run if other.run == other.rows else 0)
        self.missing += other.missing
        self.rows += other.rows
        if self.distinct is None or other.distinct is None:
            self.distinct = None
        else:
            self.distinct.merge(other.distinct)
        if self.top is not None and other.top is not None:
            self.top.merge(other.top)
        if self.lengths is not None and other.lengths is not None:
            self.lengths.merge(other.lengths)
        if self.dates is not None and other.dates is not None:
            self.dates.merge(other.dates)
        if self.numbers is not None and other.numbers is not None:
            self.numbers.merge(other.numbers)

    # -- the passes after the first
    @property
    def wants(self) -> bool:
        drawing = self.dates is not None and self.dates.wants and self.passes == 1
        return drawing or (self.numbers is not None and self.numbers.wants)

    @property
    def ranked(self) -> bool:
        """Whether what `relations` need of it is known."""
        return self.numbers is None or self.numbers.ranks is not None or self.numbers.moments.count == 0

    def begin_pass(self) -> "ColumnPass":
        """What the next pass takes of the column."""
        histogram = self.dates.begin_histogram() if self.dates is not None and self.passes == 1 else None
        return ColumnPass(self.name, None if self.numbers is None else self.numbers.current, histogram)

    def end_pass(self) -> None:
        self.passes += 1
        if self.numbers is not None:
            self.numbers.end_pass()

    def list_categories(self, most: int) -> list[object] | None:
        """All its values, if they are no more than `most` and it is a column of text or flags."""
        every = self.top.get_all() if self.top is not None else None
        return [value for value, _ in every] if every is not None and len(every) <= most else None

    # -- out
    def to_report(self, rows: int) -> dict[str, JSON]:
        """Its part of the report; the numeric part is null for columns that hold no numbers."""
        exact = self.distinct is None or self.distinct.exact
        report: dict[str, JSON] = {
            "name": self.name,
            "dtype": str(self.kind),
            "missing": self.missing,
            "missing_share": self.missing / rows if rows else 0.0,
            "all_missing": self.missing == rows,
            "longest_gap": self.longest,
            "distinct": self.distinct.count() if self.distinct is not None else None,
            "distinct_exact": exact,
            "distinct_error": 0.0 if exact else STANDARD_ERROR,
            "top": _format_pairs(self.top.get_most_frequent()) if self.top is not None else None,
            "top_exact": self.top is None or self.top.exact,
            "values": _format_pairs(self.top.get_all()) if self.top is not None and not self.many else None,
            "text": self.lengths.to_report() if self.lengths is not None else None,
            "numeric": self.numbers.to_report(self.is_integer) if self.numbers is not None else None,
            "dates": self.dates.to_report() if self.dates is not None else None,
        }
        return report


@dataclass
class ColumnPass:
    """A later pass over one column: of its numbers, and of its dates for their histogram."""

    name: str
    numbers: MeasurePass | None
    dates: DateHistogram | None

    def begin_part(self) -> "ColumnPass":
        """This pass for one partition."""
        return ColumnPass(
            self.name,
            None if self.numbers is None else self.numbers.begin_part(),
            None if self.dates is None else self.dates.begin_part(),
        )

    def merge(self, part: "ColumnPass") -> None:
        """Take what a part has taken; parts come in the order of the rows."""
        if self.numbers is not None and part.numbers is not None:
            self.numbers.merge(part.numbers)
        if self.dates is not None and part.dates is not None:
            self.dates.merge(part.dates)

    def take(self, column: pa.Array, floats: Floats | None) -> None:
        """A batch; `floats`: its numbers in float64."""
        if self.numbers is not None and floats is not None:
            self.numbers.take(floats)
        if self.dates is not None:
            self.dates.take(column)


def _format_pairs(pairs: list[tuple[Any, int]] | None) -> JSON:
    return None if pairs is None else [[str(value)[:MAX_VALUE_CHARACTERS], count] for value, count in pairs]


def measure_runs(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Lengths in rows of the runs of True, in their order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return np.asarray(edges[1::2] - edges[::2], dtype=np.int64)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers (booleans and dates do not)."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
