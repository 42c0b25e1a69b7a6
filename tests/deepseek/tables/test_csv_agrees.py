"""What the upload lets pass, cleaning can read: the same encoding and delimiter, the same rows and columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.job import EngineError
from deepseek.tables.csv_detection import resolve_csv_spec
from deepseek.tables.csv_dialect import AUTO, CsvDialect, find_dialect, guess_dialect
from deepseek.tables.csv_faults import CsvError
from deepseek.tables.csv_records import inspect_csv
from deepseek.tables.files import read_table
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec

FILES = {
    "plain": ("a,b\n1,2\n3,4\n", ",", "utf-8"),
    "no line end at the end": ("a,b\n1,2\n3,4", ",", "utf-8"),
    "mark and carriage returns": ("\ufeffa,b\r\n1,2\r\n", ",", "utf-8"),
    "old line ends": ("a,b\r1,2\r3,4\r", ",", "utf-8"),
    "many old line ends": ("a,b\r" + "1,2\r" * 20_000, ",", "utf-8"),
    "blank lines": ("a,b\n\n1,2\n\n\n3,4\n\n", ",", "utf-8"),
    "quoted line ends and quotes": ('a,b\n"x\ny","say ""hi"""\n1,2\n', ",", "utf-8"),
    "quoted header after a mark": ('\ufeff"a\nb",c\n1,2\n', ",", "utf-8"),
    "a quote inside": ('a,b\n5" pipe,2\n', ",", "utf-8"),
    "empty cells": ("a,b\n,\n1,\n", ",", "utf-8"),
    "one column": ("a\n1\n2\n", ",", "utf-8"),
    "tabs": ("a\tb\n1\t2\n", "\t", "utf-8"),
    "bars and old line ends": ("a|b\r1|2\r", "|", "utf-8"),
    "decimal commas": ("a;b;c\n1,5;2,5;x\n3,5;4,5;y\n", ";", "utf-8"),
    "decimal commas in some rows": ("a;b\n1,5;x\n2;y\n", ";", "utf-8"),
    "delimiters in quotes": ('a;b\n"1;2,3";4\n"5";6\n', ";", "utf-8"),
    "line separators": ("id;note\n1;first\u2028second\n2;plain\n", ";", "utf-8"),
    "paragraph separators": ("id;note\n1;first\u2029second\n2;plain\n", ";", "utf-8"),
    "form feeds": ("id;note\n1;first\x0csecond\n2;plain\n", ";", "utf-8"),
    "vertical tabs": ("id|note\n1|first\x0bsecond\n2|plain\n", "|", "utf-8"),
    "file separators": ("id;note\n1;a\x1cb\x1dc\x1ed\n2;plain\n", ";", "utf-8"),
    "next lines (NEL)": ("id;note\n1;first\x85second\n2;plain\n", ";", "utf-8"),
    "Chinese": ("名;值\n甲;1\n𠀀;2\n", ";", "gb18030"),
    "Chinese with line separators": ("名;值\n甲\u2028乙;1\n丙\x85;2\n", ";", "gb18030"),
    "Chinese, decimal commas, old line ends": ("名\t值\r甲乙\t1,5\r丙\t2,5\r", "\t", "gb18030"),
    "Chinese with a mark": ("\ufeff名,值\n甲,1\n", ",", "gb18030"),
    "long rows": ("a;b\n" + ("x" * 5_000 + ";1\n") * 40, ";", "utf-8"),
    "commas far behind the head": ("a;b\n" + "x;1\n" * 40_000 + "1,5;2\n", ";", "utf-8"),
}
RAGGED = {
    "too few": "a;b\n1;2\n3\n",
    "too many": "a;b\n1;2\n3;4;5\n",
    "behind a cell of lines": 'a\tb\n"1\n2"\t3\n4\n',
    "behind a line separator": "a;b\n1\u2028;2\n3;4;5\n",
    "old line ends": "a|b\r1|2\r3\r",
}
OPEN = ["date;price,eur\n2024;3,5\n", "a,b;c\n1,2\n3;4\n", "a,b,c|d\n1,2,3|4\n1,2|3\n"]
AUTOMATIC = CsvSpec(delimiter=AUTO, encoding=AUTO)


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / "table.csv"
        path.write_bytes(data)
        return path

    return write


def found_by_engine(path):
    """Dialect that a job finds which is told nothing, and whether it says that another would do."""
    spec, notes = resolve_csv_spec(path, AUTOMATIC)
    return CsvDialect(spec.delimiter, spec.encoding), any("delimiter" in note for note in notes)


def found_by_upload(data):
    try:
        return find_dialect([data[at : at + 999] for at in range(0, len(data), 999)], AUTO, AUTO)
    except CsvError as error:
        return error.code


def test_encoding_and_delimiter_are_those_of_cleaning(write):
    wrong = {}
    for name, (text, delimiter, encoding) in FILES.items():
        data, wanted = text.encode(encoding), CsvDialect(delimiter, encoding)
        found = (found_by_upload(data), guess_dialect(data[: 64 << 10]), found_by_engine(write(data))[0])
        if found != (wanted, wanted, wanted):
            wrong[name] = found
    assert wrong == {}


def test_ragged_files_have_the_delimiter_and_the_row_of_cleaning(write):
    wrong = {}
    for name, text in RAGGED.items():
        path, dialect = write(text.encode()), guess_dialect(text.encode())
        found = (found_by_upload(text.encode()), found_by_engine(path)[0])
        with pytest.raises(CsvError) as upload:
            inspect_csv([text.encode()], delimiter=dialect.delimiter)
        with pytest.raises(EngineError) as engine:
            open_table(path, AUTOMATIC, None)
        with pytest.raises(EngineError) as in_blocks:
            open_table(path, AUTOMATIC, None, small=0, block=7)
        widths = {error.value.message.partition(" has ")[2] for error in (upload, engine, in_blocks)}
        if found != (dialect, dialect) or len(widths) > 1 or engine.value.message != in_blocks.value.message:
            wrong[name] = (found, widths, in_blocks.value.message)
    assert wrong == {}


def test_what_the_upload_leaves_open_cleaning_notes(write):
    wrong = {}
    for text in OPEN:
        found = (found_by_upload(text.encode()), *found_by_engine(write(text.encode())))
        if found != ("csv_delimiter_unknown", guess_dialect(text.encode()), True):
            wrong[text] = found
    assert wrong == {}


def test_rows_and_columns_are_those_of_cleaning(write):
    wrong = {}
    for name, (text, delimiter, encoding) in FILES.items():
        path = write(text.encode(encoding))
        found = inspect_csv([path.read_bytes()], delimiter=delimiter, encoding=encoding)
        read = CsvSpec(delimiter=delimiter, encoding=encoding)
        wanted = (found.rows, [(column["name"], column["dtype"]) for column in found.columns])
        tables = [read_table(path, read), open_table(path, read, None, small=0, block=1_000).batches]
        for table in tables:
            columns = [(each.name, str(each.type)) for each in table.schema]
            if (getattr(table, "num_rows", None) or table.rows, columns) != wanted:
                wrong[name] = (wanted, columns)
    assert wrong == {}


CELLS = ["", "1", "1,5", "x", "甲", "a\u2028b", "\u2029", "\x0c", "\x85", "\x1c", "|"]
CELLS += ['"x\ny"', '"1;2"', '"q""q"', '5" x']


@given(
    rows=st.lists(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "gb18030"]),
    mark=st.sampled_from(["", "\ufeff"]),
    even=st.booleans(),
)
def test_any_file_has_one_dialect(tmp_path_factory, rows, delimiter, end, encoding, mark, even):
    rows = [(row * 4)[: len(rows[0])] for row in rows] if even else rows
    data = (mark + end.join(delimiter.join(row) for row in rows)).encode(encoding)
    path = tmp_path_factory.mktemp("any") / "table.csv"
    path.write_bytes(data)
    upload, (engine, noted) = found_by_upload(data), found_by_engine(path)
    assert engine == guess_dialect(data)
    assert upload == engine or (upload, noted) == ("csv_delimiter_unknown", True) or upload == "csv_encoding_unknown"
