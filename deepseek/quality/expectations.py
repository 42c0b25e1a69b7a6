"""Check expectations of a table batch by batch: rows by a pandera schema, keys and order by our own state.

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
from deepseek.quality.expectation_keys import KeyHashes
from deepseek.quality.expectation_schema import RowExpectation, find_schema_problem
from deepseek.quality.expectations_spec import (
    AnyExpectation,
    ColumnIs,
    Expectations,
    Monotonic,
    NotNull,
    RowCount,
    Unique,
    describe_expectation,
    get_expectation_columns,
)
from deepseek.tables.batches import Batches, TableBatches
from deepseek.tables.redaction import REDACTED

MAX_ROWS_SHOWN = 5
MAX_CELL_CHARACTERS = 60
PASS, WARN, FAIL = "pass", "warn", "fail"

Mask = npt.NDArray[np.bool_]


class ExpectationResult:
    """The result of one expectation. Rows count from 1, the header not among them."""

    def __init__(self, expectation: AnyExpectation, problem: str = "") -> None:
        self.expectation, self.problem = expectation, problem
        self.broken = self.rows_checked = 0
        self.first: list[dict[str, JSON]] = []

    def add(
        self, broken: Mask, rows_checked: int, row_offset: int, values: "Iterable[pa.Array]", is_masked: bool
    ) -> None:
        """Add a batch that begins at row `row_offset`: `rows_checked` rows count, those True in `broken` break it."""
        self.rows_checked += rows_checked
        count = int(broken.sum())
        self.broken += count
        if not count or len(self.first) >= MAX_ROWS_SHOWN:
            return
        for row in np.flatnonzero(broken)[: MAX_ROWS_SHOWN - len(self.first)].tolist():
            self.first.append(
                {"row": row_offset + row + 1, "value": REDACTED if is_masked else format_cell(values, row)}
            )

    @property
    def share(self) -> float:
        return self.broken / self.rows_checked if self.rows_checked else 0.0

    @property
    def verdict(self) -> str:
        allowed = float(getattr(self.expectation, "max_share", 0.0))
        if not self.problem and (self.broken == 0 or self.share <= allowed):
            return PASS
        return FAIL if self.expectation.severity == "error" else WARN

    def to_dict(self) -> dict[str, JSON]:
        return {
            "kind": self.expectation.kind,
            "text": describe_expectation(self.expectation),
            "columns": get_expectation_columns(self.expectation),
            "severity": self.expectation.severity,
            "note": self.expectation.note,
            "verdict": self.verdict,
            "broken": self.broken,
            "of": self.rows_checked,
            "share": self.share,
            "max_share": float(getattr(self.expectation, "max_share", 0.0)),
            "first": self.first,
            "problem": self.problem,
            "spec": cast(JSON, self.expectation.model_dump(mode="json")),
        }


def format_cell(values: "Iterable[pa.Array]", row: int) -> str:
    """The values of a row as text, cut."""
    cells = [value[row].as_py() for value in values]
    texts = [Message("missing") if cell is None else str(cell)[:MAX_CELL_CHARACTERS] for cell in cells]
    return texts[0] if len(texts) == 1 else ", ".join(texts)


def check_expectations(
    batches: Batches | pa.Table, expectations: Sequence[AnyExpectation], *, masked: Collection[str] = ()
) -> list[dict[str, JSON]]:
    """Check each expectation and return the results in order; values of `masked` columns are never shown.

    One pass over the batches, and none where there is nothing to check. Raises nothing for what does not hold: see
    `refuse_failures`.
    """
    if not expectations:
        return []
    source = TableBatches(batches) if isinstance(batches, pa.Table) else batches
    checks = [_ExpectationChecker(expectation, source.schema, masked) for expectation in expectations]
    rows = 0
    for batch in source:
        for checker in checks:
            checker.check_batch(batch, rows)
        rows += batch.num_rows
    for checker in checks:
        checker.finish(rows)
    return [checker.result.to_dict() for checker in checks]


class _ExpectationChecker:
    """One expectation over the batches of a table."""

    def __init__(self, expectation: AnyExpectation, schema: pa.Schema, masked: Collection[str]) -> None:
        self.expectation = expectation
        self.result = ExpectationResult(expectation, find_schema_problem(expectation, schema))
        self.names = get_expectation_columns(expectation)
        self.is_masked = any(name in masked for name in self.names)
        self.keys = KeyHashes() if isinstance(expectation, Unique) and not self.result.problem else None
        self.rows = RowExpectation(expectation) if not self.result.problem else None
        self.last: pa.Scalar | None = None

    def check_batch(self, batch: pa.RecordBatch, row_offset: int) -> None:
        expectation = self.expectation
        if self.result.problem or isinstance(expectation, RowCount | ColumnIs):
            return
        columns = [batch.column(name) for name in self.names]
        if self.keys is not None:
            self.keys.add(columns, row_offset)
        elif isinstance(expectation, NotNull):
            self._add_rows(columns[0].is_null().to_numpy(zero_copy_only=False), batch.num_rows, row_offset, columns)
        elif isinstance(expectation, Monotonic):
            self._check_order(expectation, columns[0], row_offset)
        elif self.rows is not None:
            broken, rows_checked = self.rows.find_broken(batch)
            self._add_rows(broken, rows_checked, row_offset, columns)

    def _add_rows(self, broken: Mask, rows_checked: int, row_offset: int, columns: Sequence[pa.Array]) -> None:
        self.result.add(broken, rows_checked, row_offset, columns, self.is_masked)

    def _check_order(self, expectation: Monotonic, column: pa.Array, row_offset: int) -> None:
        """Each present value against the present one before it, be it in an earlier batch."""
        places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        present = column.drop_null()
        if not len(present):
            return
        lead = pa.array([], column.type) if self.last is None else pa.repeat(self.last, 1)
        joined = pa.concat_arrays([lead.cast(column.type), present])
        names = {(True, True): "less_equal", (True, False): "less", (False, True): "greater_equal"}
        wrong = names.get((expectation.direction == "increasing", expectation.strict), "greater")
        steps = pc.call_function(wrong, [joined[1:], joined[:-1]]).to_numpy(zero_copy_only=False)
        broken = np.zeros(len(column), dtype=bool)
        broken[places[len(places) - len(steps) :]] = steps
        self.last = present[-1]
        self._add_rows(broken, len(present), row_offset, [column])

    def finish(self, rows: int) -> None:
        expectation = self.expectation
        if isinstance(expectation, RowCount):
            low, high = expectation.minimum or 0, expectation.maximum
            if rows < low or (high is not None and rows > high):
                self.result.problem = Message("The table has {rows:,} rows.", rows=rows)
            self.result.rows_checked = rows
        if self.keys is not None:
            with self.keys as keys:
                self.result.broken, self.result.rows_checked, first = keys.find_repeated(MAX_ROWS_SHOWN)
            self.result.first = [{"row": row + 1, "value": REDACTED if self.is_masked else text} for row, text in first]


def list_expectation_failures(results: Sequence[dict[str, JSON]]) -> list[EngineError]:
    """An EngineError ``expectation_failed`` for each error that does not hold, with its first rows; in their order."""
    return [_build_failure(place, result) for place, result in enumerate(results) if result["verdict"] == FAIL]


def refuse_failures(results: Sequence[dict[str, JSON]]) -> None:
    """Raise EngineError ``expectation_failed`` for the first error that does not hold, with its first rows."""
    failed = [(place, result) for place, result in enumerate(results) if result["verdict"] == FAIL]
    if failed:
        raise _build_failure(*failed[0], more=len(failed) - 1)


def _build_failure(place: int, result: dict[str, JSON], more: int = 0) -> EngineError:
    rows = _format_rows(cast("list[dict[str, Any]]", result["first"]))
    return EngineError(
        "expectation_failed",
        (
            (
                Message(
                    "{sentence} The first: {rows}. {more} more fail.",
                    sentence=_describe_result(place + 1, result),
                    rows=rows,
                    more=more,
                )
                if more
                else Message("{sentence} The first: {rows}.", sentence=_describe_result(place + 1, result), rows=rows)
            )
            if rows
            else (
                Message("{sentence} {more} more fail.", sentence=_describe_result(place + 1, result), more=more)
                if more
                else Message("{sentence}", sentence=_describe_result(place + 1, result))
            )
        ),
        field=f"/expectations/{place}",
        value=rows or None,
        limit=str(result["text"]),
        hint=N_("Correct these rows or the plan that makes them, widen the expectation, or make it a warning."),
    )


def _format_rows(first: Sequence[dict[str, Any]]) -> str:
    """The first rows that break an expectation, each with its value."""
    text: str = ""
    for row in first:
        row_text = Message("row {row:,}: {value}", row=row["row"], value=row["value"])
        text = Message("{before}; {one}", before=text, one=row_text) if text else row_text
    return text


def _describe_result(number: int, result: dict[str, JSON]) -> str:
    broken, of = f"{result['broken']:,}", f"{result['of']:,}"
    why = result["problem"] or Message("{broken} of {of} rows break it.", broken=broken, of=of)
    return Message(
        "The expectation {number} ({text}) does not hold: {why}", number=number, text=result["text"], why=why
    )


def list_expectation_warnings(results: Sequence[dict[str, JSON]]) -> list[str]:
    """List the expectations of severity warning that do not hold, as sentences for the report."""
    return [
        _describe_result(place, result) for place, result in enumerate(results, start=1) if result["verdict"] == WARN
    ]


def parse_expectations(text: str) -> list[AnyExpectation]:
    """Expectations from JSON: a list, or an object that has one. Raises pydantic's ValidationError."""
    document: Any = json.loads(text)
    return list(
        Expectations.model_validate(document if isinstance(document, dict) else {"expectations": document}).expectations
    )
