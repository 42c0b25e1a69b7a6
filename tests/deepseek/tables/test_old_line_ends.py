r"""A CSV file whose lines end in \r alone is read whatever its length, its rows named by their lines."""

import pytest

from deepseek.job import EngineError
from deepseek.tables.csv_quotes import find_last_record_end, find_record_end
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec

ENDS = {  # bytes: where the first record ends, where the last
    b"a,b\n1,2\n": (4, 8),
    b"a,b\r1,2\r3": (4, 8),
    b"a,b\r\n1,2\r\n3": (5, 10),
    b"a,b\r\n1,2\r": (5, 5),  # the \r may be half of \r\n
    b"a,b\r": (-1, 0),
    b"a,b": (-1, 0),
    b'"a\rb",c\r1,2\r3': (8, 12),
    b'"a\r\nb",c\r\n1,2\r\n"3\r\n': (10, 15),
}


def test_ends_of_records():
    found = {data: (find_record_end(data, b","), find_last_record_end(data, b",")) for data in ENDS}
    assert found == ENDS


@pytest.mark.parametrize("small", [0, 10**9])
def test_long_files_are_read(tmp_path, small):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\r" + b'1,"x\ry"\r' * 20_000)
    source = open_table(path, CsvSpec(), None, small=small, block=1_000)
    assert (source.rows, source.batches.schema.names) == (20_000, ["a", "b"])


@pytest.mark.parametrize("small", [0, 10**9])
def test_a_ragged_row_is_named_by_its_line(tmp_path, small):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\r" + b'1,"x\ry"\r' * 40 + b"1,2,3\r")
    with pytest.raises(EngineError, match="Row 82 has 3 cells"):
        open_table(path, CsvSpec(), None, small=small, block=50)
