"""Parquet files whose rows are far larger than their bytes: estimated, cut into small batches, or refused by name."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent
from deepseek.memory import limit_memory
from deepseek.tables import parquet_size, sample, sources
from deepseek.tables.files import open_native_file
from deepseek.tables.parquet_size import count_decoded_bytes, estimate_size, measure_pages, read_page_header
from deepseek.tables.sources import ParquetBatches, open_table, read_whole_table
from deepseek.tables.spec import CsvSpec

MIB = 2**20
LIMIT = 256 * MIB


def write_bomb(path, *, rows=3000, size=1_000_000):
    """One text of `size` bytes, which stands once in the file and `rows` times in the table."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * size]))
    pq.write_table(pa.table({"a": column}), path, store_schema=False, compression="zstd")
    return path


@pytest.fixture
def bomb(tmp_path):
    return write_bomb(tmp_path / "bomb.parquet")


def refused(call, limit: int = LIMIT) -> EngineError:
    with limit_memory(limit), pytest.raises(EngineError) as raised:
        call()
    return raised.value


def estimated(path):
    with open_native_file(path) as file:
        return estimate_size(file, 65_536)


def test_dictionary_that_decodes_to_gigabytes_is_estimated(bomb):
    size = estimated(bomb)
    assert bomb.stat().st_size < 400
    assert size.decoded_bytes > 3_000_000_000
    assert size.batch_rows == parquet_size.BATCH_BYTES // 1_000_004
    with open_native_file(bomb) as file:
        assert count_decoded_bytes(file, size.rows) == 3_000_012_000


def test_batches_of_it_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_size, "BATCH_BYTES", MIB)
    path = write_bomb(tmp_path / "small.parquet", rows=200, size=100_000)
    batches = list(ParquetBatches(path))
    assert sum(batch.num_rows for batch in batches) == 200
    assert max(batch.nbytes for batch in batches) <= MIB
    assert batches[0].schema.field("a").type == pa.string()


def test_dictionary_of_an_arrow_file_is_decoded_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_size, "BATCH_BYTES", MIB)
    places = pa.array([0, *[1] * 150, None, *[0] * 50], pa.int32())
    batch = pa.record_batch({"a": pa.DictionaryArray.from_arrays(places, pa.array(["x" * 100_000, "y"]))})
    path = tmp_path / "t.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    batches = list(open_table(path, CsvSpec(), None).batches)
    assert max(part.nbytes for part in batches) <= MIB
    assert pa.Table.from_batches(batches).column("a").to_pylist() == batch.column("a").to_pylist()


def test_table_that_does_not_fit_is_refused_before_it_is_read(bomb, tmp_path, monkeypatch):
    def run_clean():
        from deepseek.clean.run import run

        run(CleanSpec(), inputs={"table": bomb}, out=tmp_path / "out", report=Silent())

    monkeypatch.setattr(ParquetBatches, "__iter__", lambda self: pytest.fail("it was read"))
    monkeypatch.setattr(pq, "read_table", lambda file: pytest.fail("it was read"))
    wrong = {}
    for name, call in {"clean": run_clean, "whole": lambda: read_whole_table(bomb)}.items():
        error = refused(call)
        needed = int(error.value)
        if (error.code, error.field, error.limit) != ("table_too_large", "inputs/table", str(LIMIT)):
            wrong[name] = error.as_dict()
        if not 6_000_000_000 < needed < 6_200_000_000 or "needs.memory_bytes" not in error.message:
            wrong[name] = error.as_dict()
    assert wrong == {}


def test_page_that_does_not_fit_is_refused_and_small_pages_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_size, "BATCH_BYTES", MIB)
    texts = pa.table({"a": ["x" * 1_000_000] * 40})
    options = {"use_dictionary": False, "compression": "zstd", "store_schema": False}
    pq.write_table(texts, tmp_path / "one_page.parquet", **options)
    pq.write_table(texts, tmp_path / "pages.parquet", write_batch_size=4, **options)
    error = refused(lambda: ParquetBatches(tmp_path / "one_page.parquet"), 128 * MIB)
    assert (error.code, int(error.value) > 80_000_000) == ("table_too_large", True)
    with limit_memory(128 * MIB):
        assert next(iter(ParquetBatches(tmp_path / "pages.parquet"))).num_rows == 1


def test_table_of_short_texts_is_not_refused_for_one_long_one(tmp_path):
    """The longest text times the rows is far too much; what the texts have together is not."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["x" * 1_000_000] + ["short"] * 1999}), path, compression="zstd")
    assert estimated(path).decoded_bytes > 2_000_000_000
    with limit_memory(LIMIT):
        assert read_whole_table(path).num_rows == 2000


def test_dictionaries_in_lists_and_objects_are_found(tmp_path):
    long = "x" * 10_000
    table = pa.table(
        {
            "list": pa.array([[long, "b"], []] * 500),
            "object": pa.array([{"p": long, "q": 1}, None] * 500),
            "map": pa.array([[("k", long)], []] * 500, pa.map_(pa.string(), pa.string())),
            "a.text": pa.array([long, None] * 500),
            "an.object": pa.array([{"p": long, "q": 1}, None] * 500),
            "number": pa.array([1, 2] * 500),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", store_schema=False)
    assert estimated(tmp_path / "t.parquet").decoded_bytes >= 5 * 500 * 10_000


def test_pages_are_measured_as_the_footer_sums_them(tmp_path):
    """Whatever the kinds of columns and pages: header by header to the end of the chunk."""
    table = pa.table(
        {
            "float": np.linspace(0, 1, 50_000),
            "text": [f"text {number % 700}" for number in range(50_000)],
            "flag": [number % 3 == 0 for number in range(50_000)],
            "list": [[number, number + 1] for number in range(50_000)],
        }
    )
    wrong = {}
    for number, options in enumerate(
        [
            {},
            {"data_page_version": "2.0"},
            {"use_dictionary": False, "compression": "none"},
            {"write_page_checksum": True},
        ]
    ):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path, data_page_size=20_000, **options)
        with open_native_file(path) as file:
            group = pq.ParquetFile(file).metadata.row_group(0)
            for place in range(group.num_columns):
                chunk = group.column(place)
                pages = measure_pages(file, chunk)
                headers = chunk.total_uncompressed_size - pages.data - pages.dictionary
                if not 0 < headers < 0.1 * chunk.total_uncompressed_size + 200:
                    wrong[str(options), chunk.path_in_schema] = pages
    assert wrong == {}


def test_chunk_whose_headers_cannot_be_read_counts_as_one_page(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["x"] * 100}), path)
    for garbage in (b"", b"\x15", b"\x15\xff", b"\x15\x01\x15\x01\x15\x01\x00", b"\x15" + b"\xff" * 20):
        with pytest.raises((IndexError, ValueError)):
            read_page_header(garbage)
    monkeypatch.setattr(parquet_size, "read_page_header", lambda data: read_page_header(b"garbage"))
    with open_native_file(path) as file:
        chunk = pq.ParquetFile(file).metadata.row_group(0).column(0)
        assert measure_pages(file, chunk).largest == chunk.total_uncompressed_size


def test_too_many_columns_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deepseek.tables.memory_limits.MAX_COLUMNS", 3)
    table = pa.table({f"c{number}": [1] for number in range(4)})
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a,b,c,d\n1,2,3,4\n")
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    wrong = {}
    for name, small in (("t.parquet", 1), ("t.csv", 1), ("t.csv", 1000), ("t.arrow", 1)):
        error = refused(lambda name=name, small=small: open_table(tmp_path / name, CsvSpec(), tmp_path, small=small))
        if (error.code, error.value, error.limit) != ("too_many_columns", "4", "3"):
            wrong[name, small] = error.as_dict()
    assert wrong == {}


def test_csv_that_does_not_fit_is_refused_by_its_beginning(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 600_000)
    with limit_memory(128 * MIB):
        assert read_whole_table(path).num_rows == 600_000
    error = refused(lambda: read_whole_table(path), 80 * MIB)
    assert (error.code, 80 * MIB < int(error.value) < 90 * MIB) == ("table_too_large", True)


def test_quote_inside_a_cell_of_the_header_opens_nothing(tmp_path):
    (tmp_path / "t.csv").write_text('pipe 5",addr\n' + '1,"a, b, c"\n' * 20_000)
    assert read_whole_table(tmp_path / "t.csv").shape == (20_000, 2)


def test_wide_header_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("deepseek.tables.files.MAX_RECORD_BYTES", 500_000)
    monkeypatch.setattr("pyarrow.csv.read_csv", lambda *_, **__: pytest.fail("it was parsed"))
    wide = ",".join(f"c{number}" for number in range(20_000))
    wrong = {}
    for name, text, code in [
        ("plain", f"{wide}\n1\n", "too_many_columns"),
        ("over lines", f'\n"a\nb",{wide}\n1\n', "too_many_columns"),
        ("without an end", "x" * 600_000, "broken_csv"),
        ("without a quote's end", '"\n' + "x\n" * 300_000, "broken_csv"),
    ]:
        (tmp_path / "t.csv").write_text(text)
        for small in (1, 10**9):
            error = refused(lambda small=small: open_table(tmp_path / "t.csv", CsvSpec(), tmp_path, small=small))
            if error.code != code:
                wrong[name, small] = error.as_dict()
    assert wrong == {}


def test_row_group_that_does_not_fit_is_refused_where_it_is_written(monkeypatch):
    from deepseek.tables.streams import rechunk

    batch = pa.record_batch({"a": ["x" * 1_000_000] * 20})
    error = refused(lambda: list(rechunk((batch for _ in range(100)), batch.schema, 131_072)))
    assert error.code == "table_too_large"


def test_table_kept_in_memory_is_refused_where_it_does_not_fit(tmp_path):
    from deepseek.tables.streams import SpilledBatches

    batch = pa.record_batch({"a": ["x" * 1_000_000] * 20})
    kept, spilled = SpilledBatches(batch.schema, None), SpilledBatches(batch.schema, tmp_path)
    assert refused(lambda: [kept.add(batch) for _ in range(20)]).code == "table_too_large"
    with limit_memory(LIMIT):
        for _ in range(5):
            spilled.add(batch)
    assert spilled.finish().rows == 100


def test_reading_again_estimates_once(bomb, monkeypatch):
    batches = ParquetBatches(bomb)
    monkeypatch.setattr(sources, "estimate_size", lambda *_: pytest.fail("again"))
    assert batches.select_columns(["a"]).schema.names == ["a"]


def test_sample_of_it_is_bounded(bomb, monkeypatch):
    monkeypatch.setattr(sample, "MAX_SAMPLE_BYTES", MIB)
    found = sample.read_sample(bomb, CsvSpec(), rows=2000, head=MIB)
    assert (found.rows, 0 < found.table.num_rows < 50) == (3000, True)


def test_errors_are_json(bomb):
    assert json.dumps(refused(lambda: read_whole_table(bomb)).as_dict())
