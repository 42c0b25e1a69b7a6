"""The first rows of a file, from its first bytes: the same table as the head of the whole one."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError
from deepseek.tables.files import read_table
from deepseek.tables.sample import read_sample
from deepseek.tables.spec import CsvSpec

MANY = "a,b\n" + "".join(f"{n},x{n}\n" for n in range(1000))


def sample(path, rows=10, head=2**20, **csv):
    return read_sample(path, CsvSpec(**csv), rows=rows, head=head)


def test_the_first_rows_of_many(write):
    found = sample(write(MANY))
    assert found.table.equals(read_table(write(MANY), CsvSpec()).slice(0, 10))
    assert (found.rows, found.is_complete) == (None, False)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "a,b\n1,2", "a,b\n\n1,2\n\n"])
def test_a_short_file_is_the_whole_of_it(write, text):
    found = sample(write(text))
    assert (found.table.to_pydict(), found.rows, found.is_complete) == ({"a": [1], "b": [2]}, 1, True)


@pytest.mark.parametrize("head", [10, 11, 13])
def test_a_row_that_is_cut_is_left_out(write, head):
    found = sample(write("a,b\n11,1\n22,2\n33,3\n"), head=head)
    assert (found.table.to_pydict(), found.is_complete) == ({"a": [11], "b": [1]}, False)


def test_a_quoted_line_end_does_not_end_a_row(write):
    text = 'a,b\n"one\ntwo",1\n"three\nfour",2\n'
    assert sample(write(text), rows=1).table.to_pydict() == {"a": ["one\ntwo"], "b": [1]}
    assert sample(write(text), head=len(text) - 4).table.num_rows == 1


def test_a_character_that_is_cut_is_no_fault(write):
    data = "a,b\n1,中\n2,文\n".encode("gb18030")
    for head in (len(data) - 2, len(data) - 3):
        assert sample(write(data), head=head, encoding="gb18030").table.column("b").to_pylist() == ["中"]


def test_a_wrong_byte_is_told_by_its_place(write):
    with pytest.raises(EngineError, match="Byte 4 ") as caught:
        sample(write(b"a,b\n\xff,1\n2,3\n"))
    assert caught.value.field == "/csv/encoding"


def test_a_broken_row_is_told_by_its_line(write):
    with pytest.raises(EngineError, match="Row 3 has 1 cell"):
        sample(write("a,b\n1,2\n3\n"))


def test_no_row_within_the_bytes(write):
    with pytest.raises(EngineError) as caught:
        sample(write(MANY), head=5)
    assert caught.value.code == "sample_too_wide"


@pytest.mark.parametrize(("text", "code"), [("", "table_empty"), ("a,b\n", "table_empty")])
def test_nothing_to_look_at_names_the_file(write, text, code):
    with pytest.raises(EngineError) as caught:
        sample(write(text))
    assert (caught.value.code, caught.value.value) == (code, "table.csv")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(EngineError, match="Cannot read"):
        sample(tmp_path / "absent")


@pytest.fixture
def parquet(tmp_path):
    def make(rows=1000, group=100):
        table = pa.table({"a": list(range(rows)), "f": [float(n) if n % 3 else float("nan") for n in range(rows)]})
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=group)
        return tmp_path / "t.parquet"

    return make


@pytest.mark.parametrize("rows", [10, 250])
def test_the_first_rows_of_parquet(parquet, rows):
    found = sample(parquet(), rows=rows)
    assert found.table.equals(read_table(parquet(), CsvSpec()).slice(0, rows))
    assert (found.rows, found.is_complete) == (1000, False)


def test_parquet_of_few_rows_is_whole(parquet):
    assert sample(parquet(rows=5)).is_complete


def test_only_the_row_groups_within_the_bytes_are_read(parquet):
    path = parquet(rows=1000, group=100)
    last = pq.ParquetFile(path).metadata.row_group(0).column(1)
    end = last.dictionary_page_offset + last.total_compressed_size
    with_holes = path.read_bytes()
    path.write_bytes(with_holes[:end] + bytes(len(with_holes) - end - 8000) + with_holes[-8000:])
    assert sample(path, rows=500, head=end).table.column("a").to_pylist() == list(range(100))
    with pytest.raises(EngineError) as caught:
        sample(path, head=end - 1)
    assert caught.value.code == "sample_too_wide"


@pytest.mark.parametrize("data", [b"PAR1", b"PAR1" + bytes(200) + b"PAR1"])
def test_broken_parquet(write, data):
    with pytest.raises(EngineError) as caught:
        sample(write(data))
    assert caught.value.code == "broken_parquet"


def test_a_cut_arrow_file_has_no_sample(tmp_path):
    table = pa.table({"a": range(1000)})
    with pa.ipc.new_file(tmp_path / "t", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(EngineError) as caught:
        sample(tmp_path / "t", head=500)
    assert caught.value.code == "sample_too_wide"
