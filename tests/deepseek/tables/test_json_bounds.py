"""JSON lines that would take a parser's stack or all memory: refused by name, with the row."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from deepseek.job import EngineError
from deepseek.tables import json_lines as module
from deepseek.tables.json_lines import cut_lines, iter_json_blocks, refuse_deep_nesting
from deepseek.tables.memory_limits import MAX_JSON_DEPTH
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec


@pytest.fixture
def read(tmp_path):
    def read_text(text: str | bytes, **options) -> pa.Table:
        path = tmp_path / "t.jsonl"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        source = open_table(path, CsvSpec(), tmp_path, **options)
        return pa.Table.from_batches(source.batches, source.batches.schema)

    return read_text


def nested(depth: int) -> str:
    return '{"a":' + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}\n"


def test_deep_nesting_is_refused_with_its_row(read):
    wrong = {}
    deep = nested(50_000)
    for name, text, row in [
        ("lists", '{"a":1}\n' + deep, 2),
        ("objects over lines", '{"a":\n' * 50_000 + "1" + "}\n" * 50_000, MAX_JSON_DEPTH + 1),
        ("behind texts that close", json.dumps({"a": "]}" * 60_000}) + "\n\n" + deep, 2),
        ("behind an escaped quote", '{"a":"\\\\\\"]"}\n' + deep, 2),
        ("with line ends of Windows", '{"a":1}\r\n' * 3 + deep, 4),
    ]:
        with pytest.raises(EngineError) as raised:
            read(text)
        if (raised.value.code, raised.value.limit) != (
            "json_too_deep",
            "64",
        ) or f"Row {row} " not in raised.value.message:
            wrong[name] = raised.value.as_dict()
    assert wrong == {}


def test_brackets_in_texts_are_not_depth(read):
    text = json.dumps({"a": "[{" * 5000 + '\\"['}) + "\n" + json.dumps({"a": "x"}) + "\n"
    assert read(text * 3).num_rows == 6


def test_depth_is_found_across_the_parts_of_a_scan(monkeypatch):
    monkeypatch.setattr(module, "SCANNED_BYTES", 7)
    refuse_deep_nesting(nested(MAX_JSON_DEPTH).encode() * 3, 0)
    refuse_deep_nesting(json.dumps({"a": "[" * 200}).encode(), 0)
    with pytest.raises(EngineError, match="Row 12 "):
        refuse_deep_nesting(b'{"a":1}\n' + nested(MAX_JSON_DEPTH + 1).encode(), 10)


def test_nested_rows_are_still_called_that(read):
    with pytest.raises(EngineError) as raised:
        read('{"a":{"b":[1]}}\n')
    assert raised.value.code == "nested_column"


def test_different_keys_are_bounded_with_the_row(read):
    with pytest.raises(EngineError) as raised:
        read("".join(f'{{"k{number}":1}}\n' for number in range(60_000)))
    assert (raised.value.code, raised.value.limit, raised.value.value) == ("too_many_columns", "4096", "k4096")
    assert "row 4,097 " in raised.value.message


def test_keys_are_counted_across_blocks(read, monkeypatch):
    monkeypatch.setattr(module, "MAX_JSON_KEYS", 20)
    text = "".join(f'{{"k{number}":1}}\n' for number in range(21))
    with pytest.raises(EngineError, match="row 21 "):
        read(text, block=64)
    assert read(text.replace("k20", "k0"), block=64).num_columns == 20


def test_sparse_rows_are_parsed_in_parts(read, monkeypatch):
    """Rows that share no key: all their cells at once would be rows times keys."""
    parsed = []
    keep = module._parse_json

    def watch(data, schema, others="infer"):
        table = keep(data, schema, others)
        parsed.append(table.num_rows * table.num_columns)
        return table

    monkeypatch.setattr(module, "MAX_CELLS_PER_PARSE", 1000)
    monkeypatch.setattr(module, "_parse_json", watch)
    table = read("".join(f'{{"k{number % 50}":{number}}}\n' for number in range(400)))
    assert (table.num_rows, table.num_columns, max(parsed) <= 1000) == (400, 50, True)
    assert table.column("k7").drop_null().to_pylist() == list(range(7, 400, 50))


def test_parts_are_whole_lines(monkeypatch):
    monkeypatch.setattr(module, "MAX_CELLS_PER_PARSE", 6)
    data = b'{"a":1}\n\n{"a":2}\n{"a":3}'
    parts = list(cut_lines(data, 3))
    assert (b"".join(parts), len(parts)) == (data, 2)


def test_line_that_does_not_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_RECORD_BYTES", 1000)
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":"' + b"x" * 5000)
    with pytest.raises(EngineError, match="Line 2 does not end within 1000 bytes") as raised:
        list(iter_json_blocks(path, 100))
    assert raised.value.code == "broken_json"


def test_types_are_those_of_all_blocks(read):
    """However the file is cut: a block that fits the columns found so far is read with them."""
    rows = [{"a": 1, "t": "2024-01-01", "n": None, "s": "x"}] * 3
    rows += [{"a": 1.5, "t": "2024-01-02", "n": None}] * 3 + [{"a": 2, "t": "later", "n": True}] * 3
    text = "".join(json.dumps(row) + "\n" for row in rows)
    whole, cut = read(text), read(text, block=60)
    assert cut.schema == whole.schema
    assert cut.equals(whole)
    assert np.array(cut.column("a")).tolist() == [1, 1, 1, 1.5, 1.5, 1.5, 2, 2, 2]
