"""What the upload lets pass, cleaning can read, with the same rows and columns."""

import pytest

from apps.datasets.inspection import inspect_csv
from deepseek.clean.spec import CsvSpec
from deepseek.clean.tables import read_table

FILES = {
    "plain": ("a,b\n1,2\n3,4\n", ",", "utf-8"),
    "no line end at the end": ("a,b\n1,2\n3,4", ",", "utf-8"),
    "mark and carriage returns": ("\ufeffa,b\r\n1,2\r\n", ",", "utf-8"),
    "old line ends": ("a,b\r1,2\r3,4\r", ",", "utf-8"),
    "blank lines": ("a,b\n\n1,2\n\n\n3,4\n\n", ",", "utf-8"),
    "quoted line ends and quotes": ('a,b\n"x\ny","say ""hi"""\n1,2\n', ",", "utf-8"),
    "a quote inside": ('a,b\n5" pipe,2\n', ",", "utf-8"),
    "empty cells": ("a,b\n,\n1,\n", ",", "utf-8"),
    "Chinese": ("名;值\n甲;1\n𠀀;2\n", ";", "gb18030"),
    "tabs": ("a\tb\n1\t2\n", "\t", "utf-8"),
}


@pytest.mark.parametrize("name", FILES)
def test_rows_and_columns_are_those_of_cleaning(tmp_path, name):
    text, delimiter, encoding = FILES[name]
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    found = inspect_csv([path.read_bytes()], delimiter=delimiter, encoding=encoding)
    table = read_table(path, CsvSpec(delimiter=delimiter, encoding=encoding))
    assert (found.rows, [column["name"] for column in found.columns]) == (table.num_rows, table.column_names)
    assert [column["dtype"] for column in found.columns] == [str(field.type) for field in table.schema]
