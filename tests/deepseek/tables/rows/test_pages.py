"""Pages of rows: filters, orders and places of Parquet and text files, against the same in plain Python."""

import io
import random
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError
from deepseek.tables.rows.command import build_broken_error
from deepseek.tables.rows.pages import read_page
from deepseek.tables.rows.parquet_rows import ParquetRows
from deepseek.tables.rows.query import FileSource, Filter, RowQuery
from deepseek.tables.rows.text_rows import TextRows, parse_place

ROWS = 1000
PARQUET = FileSource(0, "parquet")


def draw_records() -> list[dict]:
    draw = random.Random(7)
    return [
        {
            "n": number,
            "close": None if draw.random() < 0.1 else float(draw.randint(0, 40)),
            "site": draw.choice(["harbour", "Port", "mill", None]),
        }
        for number in range(ROWS)
    ]


RECORDS = draw_records()


@pytest.fixture(scope="module")
def parts() -> list[bytes]:
    """Two Parquet files of one schema, in row groups of 64."""
    files = []
    for records in (RECORDS[:600], RECORDS[600:]):
        stream = io.BytesIO()
        schema = pa.schema([("n", pa.int64()), ("close", pa.float64()), ("site", pa.string())])
        pq.write_table(pa.Table.from_pylist(records, schema), stream, row_group_size=64)
        files.append(stream.getvalue())
    return files


@pytest.fixture
def ask(parts):
    """ask(...) -> the page of a query of the two files, and its numbers."""

    def read(**fields):
        query = RowQuery(files=[PARQUET, PARQUET], **fields)
        page = read_page(ParquetRows([io.BytesIO(part) for part in parts]), query, parse_place(query.after)[0])
        return page, [row["number"] for row in page["rows"]]

    return read


def test_any_page_is_read_by_its_place(ask):
    page, numbers = ask(after="580", limit=40)
    assert numbers == list(range(580, 620))
    assert (page["total"], page["next"], page["rows"][21]["cells"][0]) == (ROWS, "620", "601")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("column", ["n", "close", "site"])
@pytest.mark.parametrize("offset", [0, 900])
def test_an_order_has_equal_values_in_their_order_and_missing_ones_last(ask, column, descending, offset):
    _, numbers = ask(sort=column, descending=descending, offset=offset, limit=100)
    filled = [n for n in range(ROWS) if RECORDS[n][column] is not None]
    filled.sort(key=lambda n: RECORDS[n][column], reverse=descending)  # stable, also reversed
    missing = [n for n in range(ROWS) if RECORDS[n][column] is None]
    assert numbers == (filled + missing)[offset : offset + 100]


CONDITIONS = [
    (Filter("close", "eq", "7"), lambda row: row["close"] == 7),
    (Filter("close", "ne", "7"), lambda row: row["close"] not in (7, None)),
    (Filter("close", "between", "10..12.5"), lambda row: row["close"] is not None and 10 <= row["close"] <= 12.5),
    (Filter("close", "missing"), lambda row: row["close"] is None),
    (Filter("n", "gte", "970"), lambda row: row["n"] >= 970),
    (Filter("n", "lte", "-1"), lambda row: False),
    (Filter("site", "eq", "Port"), lambda row: row["site"] == "Port"),
    (Filter("site", "contains", "or"), lambda row: row["site"] == "Port"),
    (Filter("site", "present"), lambda row: row["site"] is not None),
]


@pytest.mark.parametrize(("condition", "matches"), CONDITIONS)
def test_a_filter_finds_every_match_page_by_page(ask, condition, matches):
    found, after = [], ""
    while after is not None:
        page, numbers = ask(filters=[condition], after=after, limit=90)
        found, after = found + numbers, page["next"]
    assert found == [n for n in range(ROWS) if matches(RECORDS[n])]


def test_row_groups_are_ruled_out_by_their_statistics(ask, parts, monkeypatch):
    opened = []
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *args, **more: opened.append(1) or original(*args, **more)
    )
    page, numbers = ask(filters=[Filter("n", "gte", "990")])
    assert (len(numbers), page["scanned"], len(opened)) == (10, ROWS, 2)  # one to find them, one for their cells


def test_a_search_leaves_hidden_columns_out(ask):
    assert ask(search="HARB", count=True)[0]["matches"] == sum(row["site"] == "harbour" for row in RECORDS)
    assert ask(search="HARB", hidden=["site"])[1] == []


def test_what_did_not_fit_into_the_time_is_told_and_gone_on_with(ask):
    page, numbers = ask(filters=[Filter("n", "lte", "-1"), Filter("site", "ne", "x")], seconds=0.0)
    assert page["complete"]  # no row group can match: there is nothing to read
    page, numbers = ask(filters=[Filter("site", "contains", "zzz")], seconds=0.0)
    assert (numbers, page["complete"], page["scanned"], page["next"]) == ([], False, 64, "64")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"filters": [Filter("close", "gte", "high")]}, "filter_value"),
        ({"filters": [Filter("close", "between", "3")]}, "filter_value"),
        ({"filters": [Filter("open", "eq", "3")]}, "unknown_column"),
        ({"sort": "open"}, "unknown_column"),
        ({"after": "1-2"}, "bad_place"),
    ],
)
def test_a_bad_query_is_named(ask, fields, code):
    with pytest.raises(EngineError) as raised:
        ask(**fields)
    assert raised.value.code == code


# -- text -------------------------------------------------------------------------------------------------------------
def read_text(data: list[bytes], kind: str, **fields):
    sources = [FileSource(len(part), kind) for part in data]
    query = RowQuery(files=sources, names=["n", "text"], numeric=["n"], **fields)
    source = TextRows([io.BytesIO(part) for part in data], sources, query.names, "" if query.sort else query.after)
    page = read_page(source, query, source.start)
    return page, [row["number"] for row in page["rows"]]


CSV = [b"n,text\n" + b"".join(b'%d,"line\n%d"\n' % (n, n) for n in range(first, first + 200)) for first in (0, 200)]
JSON = [b"".join(b'{"n": %d, "text": "line\\n%d"}\n' % (n, n) for n in range(400))]


@pytest.mark.parametrize(("data", "kind"), [(CSV, "csv"), (JSON, "json")])
def test_text_goes_on_in_the_block_where_the_page_before_ended(data, kind, monkeypatch):
    monkeypatch.setattr("deepseek.tables.rows.text_rows.BLOCK_BYTES", 500)
    found, after = [], ""
    while after is not None:
        page, numbers = read_text(data, kind, after=after, limit=70, filters=[Filter("n", "gte", "100")])
        found, after = found + numbers, page["next"]
    assert found == list(range(100, 400))
    assert read_text(data, kind, after="390", limit=20)[1] == list(range(390, 400))


def test_text_that_holds_numbers_is_sorted_as_numbers():
    page, numbers = read_text(CSV, "csv", sort="n", descending=True, limit=3)
    assert (numbers, page["rows"][0]["cells"]) == ([399, 398, 397], ["399", "line\n399"])


KINDS = [
    (pa.array(["a", None, "b"]).dictionary_encode(), "b", ["a", None, "b"]),
    (pa.array(["a", None, "b"], pa.string_view()), "b", ["a", None, "b"]),
    (pa.array([Decimal("0.05"), Decimal("0.10")], pa.decimal128(10, 2)), "0.1", ["0.05", "0.10"]),
    (pa.array([2, 2**63 + 5], pa.uint64()), str(2**63 + 5), ["2", str(2**63 + 5)]),
    (pa.array([0, 2**60 + 1], pa.int64()), "1e30", ["0", str(2**60 + 1)]),
    (pa.array([0.5, 1.5], pa.float16()), "1.5", ["0.5", "1.5"]),
    (pa.array([0, 10**7], pa.date32()), "1970-01-02", ["1970-01-01", "29349-01-26"]),
]


@pytest.mark.parametrize(("column", "value", "cells"), KINDS, ids=[str(column.type) for column, _, _ in KINDS])
def test_a_column_of_any_type_is_shown_sorted_and_filtered(column, value, cells):
    stream = io.BytesIO()
    pq.write_table(pa.table({"cell": column}), stream)

    def read(**fields):
        source = ParquetRows([io.BytesIO(stream.getvalue())])
        return [row["cells"][0] for row in read_page(source, RowQuery(files=[PARQUET], **fields), 0)["rows"]]

    assert read() == cells
    assert read(sort="cell") == sorted(cells, key=lambda cell: cell is None)
    assert read(filters=[Filter("cell", "gte", value)]) == ([] if value == "1e30" else [cells[-1]])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pa.ArrowInvalid("CSV parse error: Expected 2 columns, got 3: 7,Anna,Berlin"), "Expected 2 columns, got 3"),
        (pa.ArrowInvalid("Failed to parse string: 'Anna' as a scalar of type double"), "Failed to parse string"),
    ],
)
def test_an_error_of_a_broken_table_quotes_no_cell(error, text):
    document = str(build_broken_error(error).as_dict())
    assert text in document
    assert "Anna" not in document


def test_of_many_parts_only_those_that_a_page_needs_are_opened():
    stream = io.BytesIO()
    pq.write_table(pa.table({"n": list(range(10))}), stream)
    files = [io.BytesIO(stream.getvalue()) for _ in range(300)]

    def read(**fields):
        source = ParquetRows(files, [10] * 300)
        page = read_page(source, RowQuery(files=[PARQUET] * 300, **fields), parse_place(fields.get("after", ""))[0])
        return page, len(source.metadata)

    page, opened = read(after="1505", limit=10)
    assert ([row["cells"][0] for row in page["rows"]], page["total"], opened) == (list("5678901234"), 3000, 3)
    page, opened = read(filters=[Filter("n", "gte", "9")], after="1500", limit=2)
    assert ([row["number"] for row in page["rows"]], opened) == ([1509, 1519], 4)
    page, opened = read(filters=[Filter("n", "gte", "99")], seconds=0.0)  # ruled out until the time is over
    assert (page["complete"], page["scanned"], page["next"], opened) == (False, 650, "650", 65)
    with pytest.raises(ValueError, match="has 10 rows, not 11"):
        read_page(ParquetRows(files, [11] * 300), RowQuery(files=[PARQUET] * 300), 0)
