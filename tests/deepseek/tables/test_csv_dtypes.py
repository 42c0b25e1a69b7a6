"""The type that the cells of a column suggest, guessed in time linear in their length."""

from __future__ import annotations

import pytest

from deepseek.tables.csv_dtypes import MAX_TYPED_CELL, ColumnTypeGuess

COLUMNS = {
    ("1", "-2", "+3"): "int64",
    ("1", "2.5"): "double",
    ("1.", ".5", "1e-3", "inf"): "double",
    ("1.2.3",): "string",
    ("..",): "string",
    ("true", "false"): "bool",
    ("2024-02-29",): "date32[day]",
    ("2024-02-29 12:00:00.5Z",): "timestamp[s]",
    ("", "NA"): "null",
}


def guess(*cells: str) -> str:
    guessed = ColumnTypeGuess()
    for cell in cells:
        guessed.add_cell(cell)
    return guessed.dtype


def test_types_of_columns() -> None:
    assert {cells: guess(*cells) for cells in COLUMNS} == COLUMNS


def test_a_long_cell_is_text() -> None:
    digits = "0" * (MAX_TYPED_CELL - 2)
    assert (guess(f"1.{digits}"), guess(f"1.0{digits}")) == ("double", "string")


@pytest.mark.timeout(10, func_only=True)
def test_long_cells_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 digits and a letter took 7.6 s; the patterns hold without the limit on a cell too."""
    monkeypatch.setattr("deepseek.tables.csv_dtypes.MAX_TYPED_CELL", 10**9)
    for unit in ("1", ".1", "1e", "-", "2024-01-01T00:00:00.1"):
        assert guess(unit * 20_000 + "y") == "string"
