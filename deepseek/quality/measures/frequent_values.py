"""The most frequent values of a column of text or flags, with bounded memory."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import JSON

TOP_VALUES_SHOWN = 10
CATEGORIES = 100
MAX_VALUES_COUNTED = 50_000
"""Distinct values counted at once; beyond that the rarest are dropped, and their largest count is recorded."""


class TopValues:
    """Counts of values. Those forgotten were seen at most `lost` times, and a count may lack as many.

    Lossy counting: G. S. Manku and R. Motwani, Approximate Frequency Counts over Data Streams, VLDB 2002.
    """

    def __init__(self, max_values: int = MAX_VALUES_COUNTED) -> None:
        self.max_values = max_values
        self.counts: dict[object, int] = {}
        self.lost = 0

    def add(self, column: pa.Array) -> None:
        counted = pc.value_counts(column.drop_null())
        counts = self.counts
        values, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
        for value, number in zip(values, numbers, strict=True):
            counts[value] = counts.get(value, 0) + number
        if len(counts) > self.max_values:
            self._forget()

    def merge(self, other: "TopValues") -> None:
        """Take what another has counted, of rows behind these; what the two may lack adds up."""
        self.lost += other.lost
        for value, number in other.counts.items():
            self.counts[value] = self.counts.get(value, 0) + number
        if len(self.counts) > self.max_values:
            self._forget()

    def _forget(self) -> None:
        floor = int(
            np.partition(np.fromiter(self.counts.values(), np.int64), -self.max_values // 2)[-self.max_values // 2]
        )
        self.counts = {value: count for value, count in self.counts.items() if count > floor}
        self.lost += floor

    def get_most_frequent(self, most: int = TOP_VALUES_SHOWN) -> list[tuple[object, int]]:
        """The most frequent, the first seen first among equals."""
        return sorted(self.counts.items(), key=lambda pair: -pair[1])[:most]

    @property
    def exact(self) -> bool:
        return self.lost == 0

    def get_all(self) -> list[tuple[object, int]] | None:
        """All values with their counts, if they are few and all known."""
        return self.get_most_frequent(CATEGORIES) if self.exact and len(self.counts) <= CATEGORIES else None


class TextLengths:
    """Characters of the texts of a column."""

    def __init__(self) -> None:
        self.low: int | None = None
        self.high: int | None = None
        self.total = self.texts = self.empty = 0

    def add(self, column: pa.Array) -> None:
        lengths = pc.utf8_length(column.drop_null())
        if not len(lengths):
            return
        ends = pc.min_max(lengths).as_py()
        self.low = ends["min"] if self.low is None else min(self.low, ends["min"])
        self.high = ends["max"] if self.high is None else max(self.high, ends["max"])
        self.total += int(pc.sum(lengths).as_py())
        self.texts += len(lengths)
        self.empty += int(pc.sum(pc.equal(lengths, 0)).as_py())

    def merge(self, other: "TextLengths") -> None:
        """Take what another has measured."""
        lows, highs = (self.low, other.low), (self.high, other.high)
        self.low = min((low for low in lows if low is not None), default=None)
        self.high = max((high for high in highs if high is not None), default=None)
        self.total += other.total
        self.texts += other.texts
        self.empty += other.empty

    def to_report(self) -> JSON:
        if not self.texts:
            return None
        mean = self.total / self.texts
        return {"shortest": self.low, "longest": self.high, "mean": mean, "empty": self.empty}
