"""The same table out of every format, read at once or in blocks; and what is wrong with a file, by its place."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arch.data import sp500, wti

from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent
from deepseek.tables.files import read_table
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec

TEXTS = ["a", '"甲, 乙"', "a"]
ROWS = "".join(f"{n},{n / 7:.3f},{TEXTS[n % 3]},2024-01-{1 + n % 28:02d}\n" for n in range(300))
CSV = "id,x,t,d\n" + ROWS


def table_of(path, csv=None, **more):
    source = open_table(path, csv or CsvSpec(), path.parent, **more)
    return pa.Table.from_batches(source.batches, source.batches.schema).combine_chunks()


def fault(path, csv=None, **more):
    with pytest.raises(EngineError) as caught:
        table_of(path, csv, **more)
    return caught.value


@pytest.mark.parametrize("block", [7, 64, 1000, 10**6])
def test_blocks_give_what_reading_at_once_gives(write, block):
    path = write(CSV)
    assert table_of(path, small=0, block=block).equals(read_table(path, CsvSpec()))


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2", "3.5"],
        ["1", "true", "0"],
        ["2024-01-01", "2024-01-01 10:00:00"],
        ["1", "2024-01-01"],
        ["1", "x"],
        ["", "", "1"],
        ["-0", "1.5"],
        ['"a\nb"', '"c""d"', 'e"f'],
        ["1152921504606846977", "0.5"],
    ],
)
def test_types_are_those_of_the_whole_file(write, cells):
    path = write("n,c\n" + "".join(f"{n},{cell}\n" * 3 for n, cell in enumerate(cells)))
    whole, cut = read_table(path, CsvSpec()), table_of(path, small=0, block=9)
    assert cut.schema == whole.schema
    assert [str(v) for v in cut.column("c").to_pylist()] == [str(v) for v in whole.column("c").to_pylist()]


@pytest.mark.parametrize("form", ["parquet", "file", "stream", "json", "gb18030", "tabs"])
def test_every_format_gives_the_same_table(write, tmp_path, form):
    wanted = read_table(write(CSV, "plain.csv"), CsvSpec())
    path, csv = tmp_path / "table", CsvSpec(encoding="auto", delimiter="auto")
    if form == "parquet":
        pq.write_table(wanted, path)
    elif form in ("file", "stream"):
        with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(path, wanted.schema) as writer:
            writer.write_table(wanted, 50)
    elif form == "json":
        rows = [json.dumps({**row, "d": str(row["d"])}, ensure_ascii=False) for row in wanted.to_pylist()]
        path.write_text("\n".join(rows) + "\n")
    else:
        text = CSV.replace(", 乙", "乙").replace(",", "\t") if form == "tabs" else CSV
        path.write_bytes(text.encode("gb18030" if form == "gb18030" else "utf-8"))
    found = table_of(path, csv, block=500)
    assert found.num_rows == 300
    assert found.column("x").equals(wanted.column("x"))
    assert str(found.column("t")[1]) == ("甲乙" if form == "tabs" else "甲, 乙")


@pytest.mark.parametrize("small", [0, 10**9])
def test_a_ragged_row_is_named_by_its_line(write, small):
    path = write("a,b\n" + '1,"x\ny"\n' * 40 + "1,2,3\n" + "1,2\n" * 40)
    error = fault(path, small=small, block=50)
    assert (error.code, error.field) == ("csv_broken_row", "inputs/table")
    assert error.message == "Row 82 has 3 cells, the header has 2."


def test_mixed_encodings_are_named_by_their_bytes(write):
    head = "a,b\n甲,1\n".encode()
    path = write(head + "乙,2\n".encode("gb18030") + b"\xff\xff,3\n")
    error = fault(path, CsvSpec(encoding="auto"))
    assert (error.code, error.field, error.value) == ("csv_encoding_unknown", "/csv/encoding", "auto")
    assert f"byte {len(head)} is not valid utf-8" in error.message
    error = fault(path)
    assert (error.code, error.field) == ("csv_undecodable", "/csv/encoding")
    assert f"Byte {len(head)} (line 3)" in error.message


def test_gb18030_by_exclusion_says_that_it_is_not_certain(write):
    source = open_table(write("甲,b\n1,2\n".encode("gb18030")), CsvSpec(encoding="auto"), None)
    assert "cannot be ruled out" in source.notes[0]


def test_a_column_that_turns_to_text_is_told_with_its_row(write):
    source = open_table(write("x\n" + "1\n" * 10 + "broken\n" + "2\n" * 5), CsvSpec(), None)
    assert source.notes[0].startswith("Column 'x' holds numbers until row 11, which holds 'broken'")


TYPE_CHANGES = [
    ("1", '"three"', "a number", "a text"),
    ("1.5", "true", "a number", "true or false"),
    ('"2024-01-01"', "3", "a text", "a number"),
    ("false", '"2024-01-01"', "true or false", "a text"),
    ("1", "[1]", "a number", "a list or an object"),
]


@pytest.mark.parametrize("block", [10, 25, 10**6])
def test_json_that_changes_type_is_named_by_its_row(write, block):
    wrong = []
    for before, after, held, turned in TYPE_CHANGES:
        rows = ['{"b": 1}', '{"a": null}', *[f'{{"a": {before}}}'] * 7, f'{{"a": {after}}}', '{"b": 2}']
        error = fault(write("\n".join(rows)), block=block)
        told = {key: value for key, value in error.as_dict().items() if not key.endswith(("msgid", "params"))}
        if told | {"hint": None} != {
            "code": "column_changes_type",
            "message": f"The column 'a' holds {held} until row 10, which holds {turned}.",
            "field": "inputs/table",
            "value": str(json.loads(after)),
            "limit": "one type in each column",
            "hint": None,
        }:
            wrong.append(error.as_dict())
    assert wrong == []


@pytest.mark.parametrize("block", [10, 10**6])
def test_numbers_and_texts_may_change_their_form_from_block_to_block(write, block):
    numbers, texts = ["1", "1.5", "null", "2"], ['"2024-01-01"', '"x"', "null", '"2024-01-02"']
    rows = [f'{{"a": {number}, "t": {text}}}' for number, text in zip(numbers, texts, strict=True)]
    found = table_of(write("\n".join(rows)), block=block)
    assert found.column("a").to_pylist() == [1.0, 1.5, None, 2.0]
    assert [value and str(value)[:10] for value in found.column("t").to_pylist()] == [json.loads(one) for one in texts]


@pytest.mark.parametrize("block", [10, 10**6])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"a": 2', "Row 4 is no JSON object."),
        ("[2]", "Row 4 is no JSON object."),
        ('{"a": 2, "a": 3}', "Row 4 cannot be read: JSON parse error: Column(/a) was specified twice."),
        ('{"a": 1e999}', "Row 4 cannot be read: JSON parse error: Number too big"),
    ],
)
def test_broken_json_is_named_by_its_row(write, block, line, told):
    error = fault(write("\n".join(['{"a": 1}'] * 2 + ["", '{"a": 1}', line, '{"a": 1}'])), block=block)
    assert (error.code, error.value) == ("broken_json", line)
    assert error.message.startswith(told)


def test_json_of_lists_is_refused(write):
    assert fault(write('{"a": [1]}\n')).code == "nested_column"


@pytest.mark.parametrize("begin", [b"ARROW1\0\0", b"\xff\xff\xff\xff", b"PAR1"])
def test_broken_binary_files(write, begin):
    assert fault(write(begin + b"nothing")).code in ("broken_arrow", "broken_parquet")


def test_nothing_is_written_where_a_row_far_down_is_wrong(write, tmp_path):
    path = write("x\n" + "1\n" * 500 + "many\n")
    spec = CleanSpec(steps=[{"kind": "cast", "columns": ["x"], "to": "number"}])
    with pytest.raises(EngineError, match="Row 501"):
        run(spec, inputs={"table": path}, out=tmp_path / "out", report=Silent())
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]


def test_two_real_series_joined_on_their_days(tmp_path):
    """The S&P 500 with the oil price of the day beside it, gaps of at most five days carried forward."""
    sp500.load().to_csv(tmp_path / "sp500.csv")
    wti.load().to_csv(tmp_path / "wti.csv", index_label="Date", header=["WTI"])
    steps = [
        {"kind": "join", "on": ["Date"]},
        {"kind": "fill_forward", "columns": ["WTI"], "limit": 5},
        {"kind": "drop_missing", "columns": ["WTI"]},
        {"kind": "derive", "name": "ratio", "expression": "Close / WTI"},
    ]
    inputs = {"table": tmp_path / "sp500.csv", "join": tmp_path / "wti.csv"}
    result = run(CleanSpec(steps=steps), inputs=inputs, out=tmp_path / "out", report=Silent())
    found = pq.read_table(tmp_path / "out/table.parquet").to_pandas()
    assert result.rows == len(found) > 4000
    assert (found["ratio"] * found["WTI"] - found["Close"]).abs().max() < 1e-6
    wanted = sp500.load().join(wti.load().iloc[:, 0].rename("WTI"))
    assert found["WTI"].sum() == pytest.approx(wanted["WTI"].ffill(limit=5).sum())


def test_two_columns_of_one_name_are_refused_in_every_binary_format(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "parquet")
    for form, new in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        with new(tmp_path / form, table.schema) as writer:
            writer.write_table(table)
    codes = {form: fault(tmp_path / form).code for form in ("parquet", "file", "stream")}
    assert codes == dict.fromkeys(codes, "duplicate_column")
