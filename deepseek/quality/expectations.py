"""Whether a table keeps its expectations, batch by batch: rows by a pandera schema, keys and order by state of our own.

Memory does not grow with the rows but for the hashes of unique keys: 16 bytes a row, on disk beyond two million.
Equal keys are found by 64-bit hashes: of n different keys about n**2 / 2**65 would be told as repeated, one in three
thousand tables of a hundred million rows.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import JSON, EngineError
from deepseek.messages import N_, Message
from deepseek.quality.expectation_keys import Keys
from deepseek.quality.expectation_schema import Rows, problem_of
from deepseek.quality.expectations_spec import (
    AnyExpectation,
    ColumnIs,
    Expectations,
    Monotonic,
    NotNull,
    RowCount,
    Unique,
    columns_of,
    worded,
)
from deepseek.tables.batches import Batches, TableBatches
from deepseek.tables.redaction import REDACTED

FIRST_ROWS = 5
VALUE_CHARACTERS = 60
PASS, WARN, FAIL = "pass", "warn", "fail"

Mask = npt.NDArray[np.bool_]


class Found:
    """How one expectation fares. Rows count from 1, the header not among them."""

    def __init__(self, expectation: AnyExpectation, problem: str = "") -> None:
        self.expectation, self.problem = expectation, problem
        self.broken = self.looked_at = 0
        self.first: list[dict[str, JSON]] = []

    def add(self, broken: Mask, looked_at: int, before: int, values: "Iterable[pa.Array]", hidden: bool) -> None:
        """A batch behind `before` rows, of which `looked_at` count and the True ones of `broken` break it."""
        self.looked_at += looked_at
        count = int(broken.sum())
        self.broken += count
        if not count or len(self.first) >= FIRST_ROWS:
            return
        for row in np.flatnonzero(broken)[: FIRST_ROWS - len(self.first)].tolist():
            self.first.append({"row": before + row + 1, "value": REDACTED if hidden else cell_of(values, row)})

    @property
    def share(self) -> float:
        return self.broken / self.looked_at if self.looked_at else 0.0

    @property
    def verdict(self) -> str:
        allowed = float(getattr(self.expectation, "max_share", 0.0))
        if not self.problem and (self.broken == 0 or self.share <= allowed):
            return PASS
        return FAIL if self.expectation.severity == "error" else WARN

    def told(self) -> dict[str, JSON]:
        return {
            "kind": self.expectation.kind,
            "text": worded(self.expectation),
            "columns": columns_of(self.expectation),
            "severity": self.expectation.severity,
            "note": self.expectation.note,
            "verdict": self.verdict,
            "broken": self.broken,
            "of": self.looked_at,
            "share": self.share,
            "max_share": float(getattr(self.expectation, "max_share", 0.0)),
            "first": self.first,
            "problem": self.problem,
            "spec": cast(JSON, self.expectation.model_dump(mode="json")),
        }


def cell_of(values: "Iterable[pa.Array]", row: int) -> str:
    """The values of a row as text, cut."""
    cells = [value[row].as_py() for value in values]
    texts = [Message("missing") if cell is None else str(cell)[:VALUE_CHARACTERS] for cell in cells]
    return texts[0] if len(texts) == 1 else ", ".join(texts)


def check(
    batches: Batches | pa.Table, expectations: Sequence[AnyExpectation], *, masked: Collection[str] = ()
) -> list[dict[str, JSON]]:
    """What became of each expectation, in their order; the values of `masked` columns are never shown.

    One pass over the batches, and none where there is nothing to check. Raises nothing for what does not hold: see
    `refuse_failures`.
    """
    if not expectations:
        return []
    source = TableBatches(batches) if isinstance(batches, pa.Table) else batches
    checks = [_Check(each, source.schema, masked) for each in expectations]
    rows = 0
    for batch in source:
        for one in checks:
            one.take(batch, rows)
        rows += batch.num_rows
    for one in checks:
        one.end(rows)
    return [one.found.told() for one in checks]


class _Check:
    """One expectation over the batches of a table."""

    def __init__(self, expectation: AnyExpectation, schema: pa.Schema, masked: Collection[str]) -> None:
        self.expectation = expectation
        self.found = Found(expectation, problem_of(expectation, schema))
        self.names = columns_of(expectation)
        self.hidden = any(name in masked for name in self.names)
        self.keys = Keys() if isinstance(expectation, Unique) and not self.found.problem else None
        self.rows = Rows(expectation) if not self.found.problem else None
        self.last: pa.Scalar | None = None

    def take(self, batch: pa.RecordBatch, before: int) -> None:
        told = self.expectation
        if self.found.problem or isinstance(told, RowCount | ColumnIs):
            return
        columns = [batch.column(name) for name in self.names]
        if self.keys is not None:
            self.keys.add(columns, before)
        elif isinstance(told, NotNull):
            self._add(columns[0].is_null().to_numpy(zero_copy_only=False), batch.num_rows, before, columns)
        elif isinstance(told, Monotonic):
            self._in_order(told, columns[0], before)
        elif self.rows is not None:
            broken, looked_at = self.rows.broken(batch)
            self._add(broken, looked_at, before, columns)

    def _add(self, broken: Mask, looked_at: int, before: int, columns: Sequence[pa.Array]) -> None:
        self.found.add(broken, looked_at, before, columns, self.hidden)

    def _in_order(self, told: Monotonic, column: pa.Array, before: int) -> None:
        """Each present value against the present one before it, be it in an earlier batch."""
        places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        present = column.drop_null()
        if not len(present):
            return
        lead = pa.array([], column.type) if self.last is None else pa.repeat(self.last, 1)
        joined = pa.concat_arrays([lead.cast(column.type), present])
        names = {(True, True): "less_equal", (True, False): "less", (False, True): "greater_equal"}
        wrong = names.get((told.direction == "increasing", told.strict), "greater")
        steps = pc.call_function(wrong, [joined[1:], joined[:-1]]).to_numpy(zero_copy_only=False)
        broken = np.zeros(len(column), dtype=bool)
        broken[places[len(places) - len(steps) :]] = steps
        self.last = present[-1]
        self._add(broken, len(present), before, [column])

    def end(self, rows: int) -> None:
        told = self.expectation
        if isinstance(told, RowCount):
            low, high = told.minimum or 0, told.maximum
            if rows < low or (high is not None and rows > high):
                self.found.problem = Message("The table has {rows:,} rows.", rows=rows)
            self.found.looked_at = rows
        if self.keys is not None:
            with self.keys as keys:
                self.found.broken, self.found.looked_at, first = keys.repeated(FIRST_ROWS)
            self.found.first = [{"row": row + 1, "value": REDACTED if self.hidden else text} for row, text in first]


def failures(results: Sequence[dict[str, JSON]]) -> list[EngineError]:
    """An EngineError ``expectation_failed`` for each error that does not hold, with its first rows; in their order."""
    return [_failure(place, told) for place, told in enumerate(results) if told["verdict"] == FAIL]


def refuse_failures(results: Sequence[dict[str, JSON]]) -> None:
    """Raise EngineError ``expectation_failed`` for the first error that does not hold, with its first rows."""
    failed = [(place, told) for place, told in enumerate(results) if told["verdict"] == FAIL]
    if failed:
        raise _failure(*failed[0], more=len(failed) - 1)


def _failure(place: int, told: dict[str, JSON], more: int = 0) -> EngineError:
    rows = _rows_text(cast("list[dict[str, Any]]", told["first"]))
    return EngineError(
        "expectation_failed",
        (
            (
                Message(
                    "{sentence} The first: {rows}. {more} more fail.",
                    sentence=_sentence(place + 1, told),
                    rows=rows,
                    more=more,
                )
                if more
                else Message("{sentence} The first: {rows}.", sentence=_sentence(place + 1, told), rows=rows)
            )
            if rows
            else (
                Message("{sentence} {more} more fail.", sentence=_sentence(place + 1, told), more=more)
                if more
                else Message("{sentence}", sentence=_sentence(place + 1, told))
            )
        ),
        field=f"/expectations/{place}",
        value=rows or None,
        limit=str(told["text"]),
        hint=N_("Correct these rows or the plan that makes them, widen the expectation, or make it a warning."),
    )


def _rows_text(first: Sequence[dict[str, Any]]) -> str:
    """The first rows that break an expectation, each with its value."""
    text: str = ""
    for each in first:
        one = Message("row {row:,}: {value}", row=each["row"], value=each["value"])
        text = Message("{before}; {one}", before=text, one=one) if text else one
    return text


def _sentence(number: int, told: dict[str, JSON]) -> str:
    broken, of = f"{told['broken']:,}", f"{told['of']:,}"
    why = told["problem"] or Message("{broken} of {of} rows break it.", broken=broken, of=of)
    return Message("The expectation {number} ({text}) does not hold: {why}", number=number, text=told["text"], why=why)


def warnings_of(results: Sequence[dict[str, JSON]]) -> list[str]:
    """What the report warns of."""
    return [_sentence(place, told) for place, told in enumerate(results, start=1) if told["verdict"] == WARN]


def read(text: str) -> list[AnyExpectation]:
    """Expectations from JSON: a list, or an object that has one. Raises pydantic's ValidationError."""
    given: Any = json.loads(text)
    return list(Expectations.model_validate(given if isinstance(given, dict) else {"expectations": given}).expectations)
