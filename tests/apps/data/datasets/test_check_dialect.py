"""What a request may ask of the reader of a CSV file."""

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.ingest.csv_inspection import find_file_dialect, inspect_file
from deepseek.tables.csv_dialect import CsvDialect


@pytest.mark.parametrize("delimiter", ["", "ab", "a", "1", '"', "\n", "，"])
def test_refuses_a_delimiter(delimiter):
    with pytest.raises(Invalid) as caught:
        inspect_file([b"a\n1\n"], 4, CsvDialect(delimiter))
    assert (caught.value.code, caught.value.field) == ("bad_delimiter", "delimiter")


def test_refuses_an_encoding():
    with pytest.raises(Invalid) as caught:
        find_file_dialect([b"a\n1\n"], 4, "auto", "latin-1")
    assert (caught.value.code, caught.value.field) == ("bad_encoding", "encoding")


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        (b"a;b,c\n1;2,3\n", "csv_delimiter_unknown", "delimiter"),
        (b"a\n\xff\n", "csv_encoding_unknown", "file"),
        (b"a\n\0\n", "csv_nul_byte", "file"),
    ],
)
def test_what_is_wrong_with_the_file_names_the_field_of_the_request(data, code, field):
    with pytest.raises(Invalid) as caught:
        find_file_dialect([data], len(data), "auto", "auto")
    assert (caught.value.code, caught.value.field) == (code, field)
