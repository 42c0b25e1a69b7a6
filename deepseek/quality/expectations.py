"""Check expectations of a table batch by batch: rows by a pandera schema, keys and order by our own state.

Memory does not grow with the rows but for the hashes of unique keys: 16 bytes a row, on disk beyond two million.
Equal keys are found by 64-bit hashes: of n different keys about n**2 / 2**65 would be told as repeated, one in three
thousand tables of a hundred million rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import JSON, EngineError
from deepseek.messages import N_, Message
from deepseek.partitions.rounds import Round, Rounds, run_rounds
from deepseek.quality.expectation_keys import PARTITIONS as KEY_RANGES
from deepseek.quality.expectation_keys import KeyFile, KeyHashes, Repeated, find_repeated_in_files
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
KEY_BUCKETS = 8
"""Tasks that look for repeated keys in all partitions."""
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
        self, broken: Mask, rows_checked: int, row_offset: int, values: Iterable[pa.Array], is_masked: bool
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


def format_cell(values: Iterable[pa.Array], row: int) -> str:
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
    checks = ExpectationChecks(source.schema, expectations, masked)
    run_rounds(checks.rounds(), source)
    return checks.results


class ExpectationChecks:
    """The expectations of a table, checked partition by partition.

    `partitions`: how many there are; more than one need `folder`, which every process sees, for the keys of `unique`.
    `first_row`: the rows before the partition that is scanned.
    """

    def __init__(
        self,
        schema: pa.Schema,
        expectations: Sequence[AnyExpectation],
        masked: Collection[str] = (),
        *,
        partitions: int = 1,
        first_row: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.schema, self.expectations, self.masked = schema, expectations, masked
        self.partitions, self.first_row, self.folder = partitions, first_row, folder
        self.results: list[dict[str, JSON]] = []

    def rounds(self) -> Rounds[None]:
        """One pass over the table."""
        shuffles = self.partitions > 1 and any(isinstance(each, Unique) for each in self.expectations)
        reduce = self._find_repeated if shuffles else None
        yield Round(self._scan, self._merge, self._accept, reduce, KEY_BUCKETS if shuffles else 0)

    def _accept(self, results: list[dict[str, JSON]], _: None) -> None:
        self.results = results

    def _scan(self, source: Batches) -> list[PartitionCheck]:
        checks = [_ExpectationChecker(each, self.schema, self.masked) for each in self.expectations]
        rows = 0
        for batch in source:
            for checker in checks:
                checker.check_batch(batch, self.first_row + rows)
            rows += batch.num_rows
        return [checker.get_state(rows, self.folder if self.partitions > 1 else None) for checker in checks]

    def _find_repeated(self, bucket: int, states: Sequence[list[PartitionCheck]]) -> list[tuple[int, list[Repeated]]]:
        size = KEY_RANGES // KEY_BUCKETS
        places = range(bucket * size, (bucket + 1) * size)
        files = [[part.keys for part in parts if isinstance(part.keys, KeyFile)] for parts in zip(*states, strict=True)]
        return [find_repeated_in_files(each, places, MAX_ROWS_SHOWN) if each else (0, []) for each in files]

    def _merge(
        self, states: Sequence[list[PartitionCheck]], reduced: Sequence[list[tuple[int, list[Repeated]]]]
    ) -> tuple[list[dict[str, JSON]], list[None]]:
        results: list[dict[str, JSON]] = []
        for place, expectation in enumerate(self.expectations):
            checker = _ExpectationChecker(expectation, self.schema, self.masked)
            checker.merge([parts[place] for parts in states], [each[place] for each in reduced])
            results.append(checker.result.to_dict())
        return results, [None] * len(states)


@dataclass
class PartitionCheck:
    """What one expectation has of one partition; `ends`: the first and last present value, where order counts."""

    result: ExpectationResult
    rows: int
    keys: KeyHashes | KeyFile | None
    ends: tuple[pa.Array, int, pa.Array] | None


class _ExpectationChecker:
    """One expectation over the batches of a table."""

    def __init__(self, expectation: AnyExpectation, schema: pa.Schema, masked: Collection[str]) -> None:
        self.expectation = expectation
        self.result = ExpectationResult(expectation, find_schema_problem(expectation, schema))
        self.names = get_expectation_columns(expectation)
        self.is_masked = any(name in masked for name in self.names)
        self.keys = KeyHashes() if isinstance(expectation, Unique) and not self.result.problem else None
        self.rows = RowExpectation(expectation) if not self.result.problem else None
        self.first: tuple[pa.Array, int] | None = None  # the first present value, and its row
        self.last: pa.Scalar | None = None

    def get_state(self, rows: int, folder: Path | None) -> PartitionCheck:
        """What was found in a partition; keys go to a file in `folder` if there is one."""
        keys: KeyHashes | KeyFile | None = self.keys
        if self.keys is not None and folder is not None:
            with self.keys as hashes:
                keys = hashes.export(folder)
        ends = None
        if self.first is not None and self.last is not None:
            ends = (*self.first, pa.repeat(self.last, 1))
        return PartitionCheck(self.result, rows, keys, ends)

    def merge(self, parts: Sequence[PartitionCheck], repeated: Sequence[tuple[int, list[Repeated]]]) -> None:
        """Join what was found in the partitions, in the order of their rows."""
        for part in parts:
            if part.ends is not None and isinstance(self.expectation, Monotonic):
                first, row, last = part.ends
                if self.last is not None:
                    self._check_border(self.expectation, first, row)
                self.last = last[0]
            self.result.broken += part.result.broken
            self.result.rows_checked += part.result.rows_checked
            self.result.first = [*self.result.first, *part.result.first][:MAX_ROWS_SHOWN]
        if parts and isinstance(parts[0].keys, KeyHashes):
            with parts[0].keys as keys:
                broken, rows_checked, first_rows = keys.find_repeated(MAX_ROWS_SHOWN)
            self._set_repeated(broken, rows_checked, first_rows)
        elif parts and isinstance(parts[0].keys, KeyFile):
            first_rows = sorted(row for _, rows in repeated for row in rows)[:MAX_ROWS_SHOWN]
            rows_checked = sum(part.keys.rows for part in parts if isinstance(part.keys, KeyFile))
            self._set_repeated(sum(count for count, _ in repeated), rows_checked, first_rows)
        self.finish(sum(part.rows for part in parts))

    def _set_repeated(self, broken: int, rows_checked: int, first: Sequence[Repeated]) -> None:
        self.result.broken, self.result.rows_checked = broken, rows_checked
        self.result.first = [{"row": row + 1, "value": REDACTED if self.is_masked else text} for row, text in first]

    def _check_border(self, expectation: Monotonic, first: pa.Array, row: int) -> None:
        """The first present value of a partition against the last one before it; that it was checked counts already."""
        if self._find_wrong_steps(expectation, first)[0]:
            self._add_rows(np.ones(1, dtype=bool), 0, row, [first])

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
        if self.first is None:
            self.first = (present[:1], row_offset + int(places[0]))
        steps = self._find_wrong_steps(expectation, present)
        broken = np.zeros(len(column), dtype=bool)
        broken[places[len(places) - len(steps) :]] = steps
        self.last = present[-1]
        self._add_rows(broken, len(present), row_offset, [column])

    def _find_wrong_steps(self, expectation: Monotonic, present: pa.Array) -> Mask:
        """Which present values stand wrong behind the one before; of the very first there is no step."""
        lead = pa.array([], present.type) if self.last is None else pa.repeat(self.last, 1)
        joined = pa.concat_arrays([lead.cast(present.type), present])
        names = {(True, True): "less_equal", (True, False): "less", (False, True): "greater_equal"}
        wrong = names.get((expectation.direction == "increasing", expectation.strict), "greater")
        return np.asarray(pc.call_function(wrong, [joined[1:], joined[:-1]]).to_numpy(zero_copy_only=False))

    def finish(self, rows: int) -> None:
        """Judge what depends on all rows."""
        expectation = self.expectation
        if isinstance(expectation, RowCount):
            low, high = expectation.minimum or 0, expectation.maximum
            if rows < low or (high is not None and rows > high):
                self.result.problem = Message("The table has {rows:,} rows.", rows=rows)
            self.result.rows_checked = rows


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
