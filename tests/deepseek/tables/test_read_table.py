"""Reading: CSV and Parquet by content, and every fault named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError
from deepseek.tables.files import read_table, require_columns
from deepseek.tables.spec import CsvSpec


def fault(path, **spec):
    with pytest.raises(EngineError) as caught:
        read_table(path, CsvSpec(**spec))
    assert caught.value.field
    return caught.value


def test_missing_tokens_become_null(write):
    table = read_table(write("x,t\n1,a\nNA,NA\n.,b\n-,\n"), CsvSpec(missing_tokens=["NA", ".", "-", ""]))
    assert table.to_pydict() == {"x": [1, None, None, None], "t": ["a", None, "b", None]}


def test_parquet_is_known_by_its_content(write, tmp_path):
    pq.write_table(pa.table({"x": [1.0, float("nan"), None]}), tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv", CsvSpec()).to_pydict() == {"x": [1.0, None, None]}


def test_dictionary_columns_are_decoded(tmp_path):
    pq.write_table(pa.table({"t": pa.array(["a", None, "a"]).dictionary_encode()}), tmp_path / "t")
    assert read_table(tmp_path / "t", CsvSpec()).schema.field("t").type == pa.string()


def test_parquet_folder_names_add_no_columns(tmp_path):
    (tmp_path / "day=1").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "day=1" / "t")
    assert read_table(tmp_path / "day=1" / "t", CsvSpec()).column_names == ["x"]


@pytest.mark.parametrize(
    ("text", "spec", "wanted"),
    [
        ("名,x\n中,1\n".encode("gb18030"), {"encoding": "gb18030"}, {"名": ["中"], "x": [1]}),
        (b"\xef\xbb\xbfa;b\r\n1;2\r\n", {"delimiter": ";"}, {"a": [1], "b": [2]}),
        (b'a\tb\n"x\ny"\t1\n', {"delimiter": "\t"}, {"a": ["x\ny"], "b": [1]}),
    ],
)
def test_forms_of_csv(write, text, spec, wanted):
    assert read_table(write(text), CsvSpec(**spec)).to_pydict() == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n" + "1,2\n" * 15 + "1,2,3\n", "Row 17 has 3 cells, the header has 2."),
        ("a,b\n1,2\n\n\n9\n", "Row 5 has 1 cell, the header has 2."),
        ('a,b\n"x\ny\nz",2\n1\n1,2\n', "Row 5 has 1 cell, the header has 2."),
        ("a,b\n" + "1,2\n" * 400_000 + "1\n", "Row 400002 has 1 cell, the header has 2."),
    ],
    ids=["more cells", "behind empty lines", "behind a quoted line end", "far behind"],
)
def test_broken_row_is_named_by_its_line(write, text, message):
    error = fault(write(text))
    assert (error.code, error.message) == ("csv_broken_row", message)
    assert error.hint


@pytest.mark.parametrize(
    ("content", "code", "part"),
    [
        (b"", "table_empty", "no bytes"),
        (b"a,b\n", "table_empty", "no rows"),
        (b"\n\n", "table_empty", "no row"),
        (b"a,b,a\n1,2,3\n", "duplicate_column", "'a' occurs more than once, the second time as column 3"),
        (b"a,b\n1,\xff\n", "csv_undecodable", "Byte 6 (line 2) is not valid utf-8"),
        (b"a\xff,b\n1,2\n", "csv_undecodable", "Byte 1 (line 1)"),
        (b"a\n" + b"1\n" * 600_000 + b"\xe4\xb8", "csv_undecodable", "Byte 1200002 (line 600002)"),
        (b"PAR1 and no more", "broken_parquet", "Parquet"),
    ],
    ids=["no bytes", "no rows", "no header", "names", "a byte", "a byte of the header", "a byte far behind", "Parquet"],
)
def test_faults_of_the_file(write, content, code, part):
    error = fault(write(content))
    assert error.code == code
    assert part in error.message


@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_position_holds_across_the_seams_of_reading(write, lead):
    text = b"x" * lead + "中".encode() * 400_000  # three-byte characters straddle the chunk's end
    error = fault(write(text + b"\xff\n"))
    assert f"Byte {len(text)} (line 1)" in error.message
    double = b"a\n" + b"x" * lead + "中".encode("gb18030") * 600_000
    assert f"Byte {len(double)} (line 2)" in fault(write(double + b"\xff\n"), encoding="gb18030").message


def test_parquet_cut_short(tmp_path):
    pq.write_table(pa.table({"x": list(range(1000))}), tmp_path / "t")
    whole = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(whole[: len(whole) // 2])
    assert fault(tmp_path / "t").code == "broken_parquet"


@pytest.mark.parametrize("text", [b"column", b"values"])
def test_parquet_with_bytes_that_are_no_text(tmp_path, text):
    pq.write_table(pa.table({"column": ["values"]}), tmp_path / "t", compression="none", store_schema=False)
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes().replace(text, b"\xff" * 6))
    assert fault(tmp_path / "t").code == "broken_parquet"


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_unreadable_file(tmp_path, name):
    assert fault(tmp_path / name).code == "input_unreadable"


@pytest.mark.parametrize(
    ("name", "hint"), [("prcie", "Did you mean 'price'?"), ("zz", "The table has 'day', 'price'.")]
)
def test_unknown_column_names_what_is_near(name, hint):
    with pytest.raises(EngineError) as caught:
        require_columns(["day", "price"], ["day", name])
    assert (caught.value.code, caught.value.field, caught.value.hint) == ("unknown_column", "/columns/1", hint)
