"""Every fault that a CSV file can have is named; what is well is counted, however the stream is cut."""

import io
import tracemalloc

import pytest

from deepseek.tables import csv_records
from deepseek.tables.csv_faults import CsvError
from deepseek.tables.csv_records import CELL_LIMIT, inspect_csv, split_lines


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


FAULTS = {
    "no bytes": (b"", "csv_empty", "empty"),
    "blank lines only": (b"\r\n\n", "csv_empty", "empty"),
    "mark behind a blank line": (b"\n\xef\xbb\xbfa,b\n1,2\n", "csv_misplaced_mark", "byte order mark"),
    "mark only": (b"\xef\xbb\xbf", "csv_empty", "empty"),
    "header only": (b"a,b\n", "csv_no_rows", "no rows"),
    "too few cells": (b"a,b\n1,2\n\n3\n", "csv_broken_row", "Row 3 has 1 cell, the header has 2"),
    "too many cells": (b'a,b\n"x\ny",2\n1,2,3\n', "csv_broken_row", "Row 3 has 3 cells, the header has 2"),
    "column without a name": (b"a,,c\n1,2,3\n", "csv_empty_column", "Column 2"),
    "blank column name": (b"a, \n1,2\n", "csv_empty_column", "Column 2"),
    "column twice": (b"a,b,a\n1,2,3\n", "csv_duplicate_column", "'a' stands at column 1 and again at column 3"),
    "bad byte": (b"a,b\n1,\xff\n", "csv_undecodable", "Byte 6 (ff"),
    "cut character": ("a\n中".encode()[:-1], "csv_undecodable", "Byte 2 (e4 b8)"),
    "NUL byte": (b"a,b\n1,\x00\n", "csv_nul_byte", "Byte 6"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16-le"), "csv_nul_byte", "Byte 1"),
    "long cell": (b"a\n" + b"x" * (CELL_LIMIT + 1), "csv_cell_too_long", "Row 2 (line 2)"),
    "long name": (b"a" * 501 + b"\n1\n", "csv_name_too_long", "501"),
    "open quote": (b'a\n1\n"2\n3\n', "csv_broken_quote", "Row 3 (line 3)"),
    "text after a quote": (b'a\n"1"2\n', "csv_broken_quote", "Row 2 (line 2)"),
    "too many columns": (b",".join(b"c%d" % n for n in range(10_001)) + b"\n", "csv_too_many_columns", "10001"),
}


@pytest.mark.parametrize("size", [1, 7, 2**18])
def test_faults_are_reported(size):
    """Code, message, field, limit and hint of each fault, however the stream is cut."""
    wrong = {}
    for name, (data, code, text) in FAULTS.items():
        with pytest.raises(CsvError) as caught:
            inspect_csv(cut(data, max(size, len(data) // 5000)))
        error = caught.value
        if (
            (error.code, error.field) != (code, "inputs/table")
            or text not in error.message
            or not (error.limit and error.hint)
        ):
            wrong[name] = repr(error)
    assert wrong == {}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_counts_rows_however_the_stream_is_cut(size):
    data = '\ufeff名,值,t\r\n"甲\r\n乙",1.5,2026-01-02\r\r\n丙,NA,2026-01-03\n丁,2,2026-02-03'.encode()
    found = inspect_csv(cut(data, size))
    assert found.rows == 3
    assert found.columns == [
        {"name": "名", "dtype": "string"},
        {"name": "值", "dtype": "double"},
        {"name": "t", "dtype": "date32[day]"},
    ]


@pytest.mark.parametrize("size", [1, 3, 64])
def test_reads_chinese_national_encoding_with_another_delimiter(size):
    data = "名;值\n甲;1\n𠀀;2\n".encode("gb18030")
    assert inspect_csv(cut(data, size), delimiter=";", encoding="gb18030").rows == 2


@pytest.mark.parametrize("size", [1, 64])
def test_names_the_position_of_a_bad_gb18030_byte(size):
    data = "名\n甲".encode("gb18030") + b"\xff\n"
    with pytest.raises(CsvError, match=r"Byte 5 \(ff"):
        inspect_csv(cut(data, size), encoding="gb18030")


TYPES = [
    (["1", "-2", "NA"], "int64"),
    (["1", "2.5", ""], "double"),
    (["9223372036854775807"], "int64"),
    (["9223372036854775808"], "double"),
    (["1e5", "-.5", "inf"], "double"),
    (["true", "False"], "bool"),
    (["2026-01-31"], "date32[day]"),
    (["2026-01-31 23:59", "2026-01-31T00:00:01.5Z"], "timestamp[s]"),
    (["2026-13-01"], "string"),
    (["1", "x"], "string"),
    (["NA", "null", "."], "null"),
    (["١"], "string"),
]


def test_guesses_the_type():
    files = [("c,d\n" + "".join(f"{cell},.\n" for cell in cells)).encode() for cells, _ in TYPES]
    dtypes = [inspect_csv([data]).columns[0]["dtype"] for data in files]
    assert dtypes == [dtype for _, dtype in TYPES]


def endless_line():
    while True:
        yield b"x" * 2**18


def endless_record():
    yield b"a,b\n"
    while True:
        yield b'"y\n",' * 50_000


@pytest.mark.parametrize(
    ("stream", "code"), [(endless_line, "csv_line_too_long"), (endless_record, "csv_cell_too_long")]
)
def test_stops_at_a_line_or_record_without_end(stream, code, monkeypatch):
    monkeypatch.setattr(csv_records, "LINE_LIMIT", 2**20)
    monkeypatch.setattr(csv_records, "RECORD_LIMIT", 2**21)
    with pytest.raises(CsvError) as caught:
        inspect_csv(stream())
    assert caught.value.code == code


@pytest.mark.parametrize("row", [b"ab," * 2_500_000, b'"ab\n",' * 1_250_000], ids=["one line", "many"])
def test_row_of_many_cells_takes_little_memory(row):
    tracemalloc.start()
    try:
        with pytest.raises(CsvError) as caught:
            inspect_csv(row[at : at + 2**18] for at in range(0, len(row), 2**18))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "csv_too_many_columns"
    assert peak < 100 * 2**20  # 7.5 MB of row; its cells would take 150 MB


def test_memory_does_not_grow_with_the_file():
    chunk = b"1,2.5,abc\n" * 1000

    def measure_peak(chunks: int) -> int:
        tracemalloc.start()
        try:
            assert inspect_csv([b"a,b,c\n", *[chunk] * chunks]).rows == 1000 * chunks
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    measure_peak(1)  # what is loaded once
    assert measure_peak(12) < 1.5 * measure_peak(2)  # lists of the rows would take six times as much


def test_lines_are_the_same_however_the_text_is_cut():
    text = "a\r\nb\rc\n\nd\x0c\u2028e\r\r\nf"
    cuts = [[text[:at], "", text[at:end], text[end:]] for end in range(len(text)) for at in range(end)]
    whole = list(io.StringIO(text, newline=""))
    assert [cut for cut in cuts if list(split_lines(cut)) != whole] == []


@pytest.mark.timeout(20, func_only=True)
def test_a_line_of_many_pieces_is_put_together_once():
    """Copied with every piece, a line of 8 MB took a minute."""
    assert [len(line) for line in split_lines("ab" * 100 for _ in range(40_000))] == [8_000_000]
