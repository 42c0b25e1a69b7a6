"""The dates of a column: of a type of dates, or of text that is a date of one format throughout."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import JSON
from deepseek.quality.measures.distinct import DistinctCount, HashBudget
from deepseek.quality.measures.hashing import mix
from deepseek.quality.measures.moments import Moments
from deepseek.quality.measures.passes import HistogramPass

DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%Y年%m月%d日",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y/%m/%d %H:%M",
)
"""Tried on text columns. Month-first forms are left out: they cannot be told from day-first ones."""
SAMPLE = 100

Seconds = npt.NDArray[np.int64]


class DateSeries:
    """Dates of one format (None: of the column's own type), in the order of the rows."""

    def __init__(self, kind: pa.DataType, form: str | None, budget: HashBudget) -> None:
        self.kind, self.form = kind, form
        self.ends: pa.Array | None = None
        self.moments, self.different = Moments(), DistinctCount(budget)
        self.first: int | None = None
        self.last: int | None = None
        self.out_of_order = self.count = 0
        self.histogram: HistogramPass | None = None

    def parse_dates(self, column: pa.Array) -> pa.Array | None:
        """The present values as dates; None if one of them is none."""
        present = column.drop_null()
        if self.form is None:
            return present
        dates = pc.strptime(present, format=self.form, unit="s", error_is_null=True)
        return None if dates.null_count else dates

    def add(self, dates: pa.Array) -> None:
        if not len(dates):
            return
        reach = _find_ends(dates)
        self.ends = reach if self.ends is None else _find_ends(pa.concat_arrays([self.ends, reach]))
        seconds = self.convert_to_seconds(dates)
        steps = np.diff(seconds) if self.last is None else np.diff(seconds, prepend=self.last)
        self.out_of_order += int((steps < 0).sum())
        self.first = int(seconds[0]) if self.first is None else self.first
        self.last = int(seconds[-1])
        self.count += seconds.size
        self.moments.add(seconds.astype(np.float64))
        self.different.add(mix(seconds.view(np.uint64)))

    def merge(self, other: "DateSeries") -> None:
        """Take what another has of the rows behind these."""
        if other.ends is None or other.first is None:
            return
        self.ends = other.ends if self.ends is None else _find_ends(pa.concat_arrays([self.ends, other.ends]))
        falls = self.last is not None and other.first < self.last
        self.out_of_order += other.out_of_order + falls
        self.first = other.first if self.first is None else self.first
        self.last = other.last
        self.count += other.count
        self.moments.merge(other.moments)
        self.different.merge(other.different)

    def convert_to_seconds(self, dates: pa.Array) -> Seconds:
        zone = dates.type.tz if pa.types.is_timestamp(dates.type) else None
        seconds = dates.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())
        return cast(Seconds, seconds.to_numpy(zero_copy_only=False))

    def to_report(self) -> JSON:
        if self.ends is None:
            return None
        histogram = cast("dict[str, Any] | None", self.histogram.to_report() if self.histogram else None)
        if histogram is not None:
            moments = np.array(histogram["edges"]).astype("datetime64[s]")
            whole_days = pa.types.is_date(self.kind)
            histogram["edges"] = [str(moment.astype("datetime64[D]") if whole_days else moment) for moment in moments]
        return {
            "first": str(self.ends[0]),
            "last": str(self.ends[1]),
            "format": self.form,
            "histogram": histogram,
            "out_of_order": self.out_of_order,
            "repeated": self.count - self.different.count() if self.different.exact else None,
        }


def _find_ends(dates: pa.Array) -> pa.Array:
    ends = pc.min_max(dates)
    return pa.concat_arrays([pa.repeat(ends["min"], 1), pa.repeat(ends["max"], 1)])


class DateMeasure:
    """What a column may be read as; a format that one value does not have is dropped."""

    def __init__(self, kind: pa.DataType, budget: HashBudget) -> None:
        self.kind, self.budget = kind, budget
        self.started = False
        self.series: list[DateSeries] = []
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            self.started, self.series = True, [DateSeries(kind, None, budget)]

    @property
    def wants(self) -> bool:
        return bool(self.series)

    def add(self, column: pa.Array) -> None:
        if not self.started and column.null_count < len(column):
            self.started = True
            sample = column.drop_null()[:SAMPLE]
            forms = [form for form in DATE_FORMATS if _has_form(sample, form)]
            self.series = [DateSeries(self.kind, form, self.budget) for form in forms]
        for course in list(self.series):
            dates = course.parse_dates(column)
            if dates is None:
                self.series.remove(course)
            else:
                course.add(dates)

    def merge(self, other: "DateMeasure") -> None:
        """Take what another has of the rows behind these: the formats that the values of both have."""
        if not other.started:
            return
        if not self.started:
            self.started, self.series = True, other.series
            return
        theirs = {each.form: each for each in other.series}
        self.series = [each for each in self.series if each.form in theirs]
        for each in self.series:
            each.merge(theirs[each.form])

    def begin_histogram(self) -> "DateHistogram | None":
        """The second pass; None where the column is not read as dates."""
        if not self.series:
            return None
        series = self.series[0]
        series.histogram = HistogramPass(series.moments)
        return DateHistogram(DateSeries(self.kind, series.form, HashBudget()), series.histogram)

    def to_report(self) -> JSON:
        return self.series[0].to_report() if self.series else None


def _has_form(sample: pa.Array, form: str) -> bool:
    return bool(pc.strptime(sample, format=form, unit="s", error_is_null=True).null_count == 0)


@dataclass
class DateHistogram:
    """The second pass over a column of dates; `reader` reads them."""

    reader: DateSeries
    counts: HistogramPass

    def begin_part(self) -> "DateHistogram":
        """The same for one partition, with nothing taken."""
        return DateHistogram(self.reader, self.counts.begin_part())

    def merge(self, part: "DateHistogram") -> None:
        """Take what a part has taken."""
        self.counts.merge(part.counts)

    def take(self, column: pa.Array) -> None:
        """A batch."""
        dates = self.reader.parse_dates(column)
        if dates is not None and len(dates):
            self.counts.take(self.reader.convert_to_seconds(dates).astype(np.float64))
