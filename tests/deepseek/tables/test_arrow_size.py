"""Arrow files whose buffers are compressed: what they take is told by their headers, and refused before it is read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from deepseek.job import EngineError
from deepseek.memory import limit_memory
from deepseek.tables import arrow_size, sources
from deepseek.tables.arrow_size import refuse_large_batches
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec

MIB = 2**20


@pytest.fixture
def write(tmp_path):
    def write_table(table, *, compression=None, stream=False, rows=None):
        path = tmp_path / "t.arrow"
        options = pa.ipc.IpcWriteOptions(compression=compression)
        opener = pa.ipc.new_stream if stream else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as file, opener(file, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=rows)
        return path

    return write_table


def zeros(size: int) -> pa.Table:
    return pa.table({"a": np.zeros(size // 8), "b": pa.array(["x"] * 10 + [None] * (size // 8 - 10))})


def test_compressed_batch_is_refused_before_it_is_read(write, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_iter_arrow_batches", lambda *_: pytest.fail("it was read"))
    wrong = {}
    for compression in ("zstd", "lz4"):
        for stream in (False, True):
            path = write(zeros(16 * MIB), compression=compression, stream=stream)
            with limit_memory(192 * MIB), pytest.raises(EngineError) as raised:
                open_table(path, CsvSpec(), tmp_path)
            if (raised.value.code, path.stat().st_size < 2 * MIB) != ("table_too_large", True):
                wrong[compression, stream] = raised.value.as_dict()
    assert wrong == {}


def test_small_batches_and_plain_buffers_are_read(write, tmp_path):
    wrong = {}
    for options in ({"compression": "zstd", "rows": 100_000}, {"stream": True, "rows": 100_000}):
        path = write(zeros(16 * MIB), **options)
        with limit_memory(128 * MIB):
            rows = open_table(path, CsvSpec(), tmp_path).rows
        if rows != 2 * MIB:
            wrong[str(options)] = rows
    assert wrong == {}


def test_dictionaries_count(write):
    large = pa.table({"a": pa.array([f"{number:0100000}" for number in range(400)]).dictionary_encode()})
    with limit_memory(100 * MIB), pytest.raises(EngineError):
        refuse_large_batches(write(large, compression="zstd"), True)


def test_what_is_no_arrow_file_is_left_to_the_reader(tmp_path):
    path = tmp_path / "t.arrow"
    wrong = {}
    for content in (b"ARROW1", b"ARROW1\0\0" + b"\xff" * 100, b"\xff\xff\xff\xff" + b"\x10\0\0\0" + b"\x07" * 64):
        path.write_bytes(content)
        with pytest.raises(EngineError) as raised:
            open_table(path, CsvSpec(), tmp_path)
        if raised.value.code != "broken_arrow":
            wrong[content] = raised.value.as_dict()
    assert wrong == {}


def test_header_that_lies_counts_as_its_bytes():
    class Message:
        type, body, metadata = "record batch", b"12345678", b"\x04\0\0\0" + b"\xff" * 40

    assert arrow_size.measure_message(Message()) == 8
