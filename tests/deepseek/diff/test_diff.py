"""Two tables row by row: what was added, removed and changed, and what cannot be compared."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.diff import run as diff
from deepseek.diff import sides
from deepseek.diff.spec import DiffSpec
from deepseek.job import EngineError, Silent

BEFORE = {
    "day": [1, 2, 3, 4],
    "city": ["a", "a", "b", "b"],
    "close": [1.0, None, 3.0, 4.0],
    "old": ["w", "x", "y", "z"],
}
AFTER = {
    "city": ["b", "a", "a", "c"],
    "day": [3, 1, 2, 9],
    "close": [3.5, 1.0, None, 9.0],
    "fresh": [True, False, None, True],
}


@pytest.fixture
def compared(tmp_path):
    def run(before, after, keys=("day", "city"), **more):
        inputs = {}
        for slot, data in (("before", before), ("after", after)):
            inputs[slot] = tmp_path / slot
            if isinstance(data, str):
                inputs[slot].write_text(data)
            else:
                pq.write_table(data if isinstance(data, pa.Table) else pa.table(data), inputs[slot])
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        result = diff.run(DiffSpec(keys=list(keys), **more), inputs=inputs, out=out, report=Silent())
        return json.loads((out / "summary.json").read_text()), pq.read_table(out / "changes.parquet"), result

    return run


def test_every_kind_of_change(compared):
    told, rows, result = compared(BEFORE, AFTER)
    assert {name: told[name] for name in ("added", "removed", "changed", "same")} == {
        "added": 1,
        "removed": 1,
        "changed": 1,
        "same": 2,
    }
    assert result.summary == {"added": 1, "removed": 1, "changed": 1, "same": 2}
    assert [(row["change"], row["key.day"], row["key.city"], row["columns"]) for row in rows.to_pylist()] == [
        ("removed", 4, "b", []),
        ("changed", 3, "b", ["close"]),
        ("added", 9, "c", []),
    ]
    changed = rows.to_pylist()[1]
    assert (changed["before.close"], changed["after.close"]) == (3.0, 3.5)
    assert (changed["before_row"], changed["after_row"]) == (3, 1)
    assert (changed["before.old"], changed["after.fresh"]) == ("y", True)
    assert {(c["name"], c["change"], c["changed"]) for c in told["columns"]} == {
        ("day", "same", 0),
        ("city", "same", 0),
        ("close", "same", 1),
        ("old", "removed", 0),
        ("fresh", "added", 0),
    }
    assert told["sample"][1] == {
        "change": "changed",
        "key": ["3", "b"],
        "columns": [{"name": "close", "before": "3.0", "after": "3.5"}],
        "more": 0,
    }


def test_equal_tables_differ_in_nothing(compared):
    told, rows, _ = compared(BEFORE, BEFORE)
    assert (rows.num_rows, told["same"], told["sample"]) == (0, 4, [])


def test_text_is_read_as_the_type_beside_it(compared):
    csv = "day,city,close,old\n1,a,1.0,w\n2,a,,x\n3,b,3,y\n4,b,4.00,z\n"
    told, _, _ = compared(csv, BEFORE)
    assert told["same"] == 4
    one, other = {"k": [1, 2], "x": ["1.50", "2"]}, {"k": [1.0, 2.0], "x": [1.5, 3.0]}
    told, rows, _ = compared(one, other, ["k"])
    assert (told["changed"], rows.column("key.k").to_pylist()) == (1, [2.0])
    assert next(c for c in told["columns"] if c["name"] == "x")["change"] == "retyped"


def test_every_format_and_dialect_that_cleaning_reads(compared):
    lines = "".join(json.dumps({"k": key, "x": float(key)}) + "\n" for key in (1, 2, 3))
    told, _, _ = compared(lines, "k;x\n1;1\n2;2.0\n4;9\n", ["k"], csv_after={"delimiter": "auto", "encoding": "auto"})
    assert [told[name] for name in ("added", "removed", "changed", "same")] == [1, 1, 0, 2]


def test_lists_are_compared(compared):
    told, _, _ = compared({"k": [1, 2], "x": [[1], [2]]}, {"k": [1, 2], "x": [[1], [2, 3]]}, ["k"])
    assert (told["changed"], told["same"]) == (1, 1)


def test_a_type_that_does_not_fit_is_compared_as_text(compared):
    told, _, _ = compared({"k": [1, 2], "x": ["a", "2"]}, {"k": [1, 2], "x": [1, 2]}, ["k"])
    assert (told["changed"], told["same"]) == (1, 1)


@pytest.mark.parametrize("slot", ["before", "after"])
def test_a_key_that_stands_twice_is_named(compared, slot):
    twice, once = {"k": ["u", "v", "u"], "x": [1, 2, 3]}, {"k": ["u"], "x": [1]}
    with pytest.raises(EngineError) as caught:
        compared(*((twice, once) if slot == "before" else (once, twice)), ["k"])
    assert (caught.value.code, caught.value.field) == ("duplicate_key", f"inputs/{slot}")
    assert "k = u stands in rows 1 and 3" in caught.value.message


def test_a_key_that_one_table_lacks_is_named(compared):
    with pytest.raises(EngineError) as caught:
        compared(BEFORE, AFTER, ["day", "old"])
    assert (caught.value.code, caught.value.field) == ("unknown_column", "/keys/1")


def test_a_broken_table_names_its_slot(compared):
    with pytest.raises(EngineError) as caught:
        compared(BEFORE, "day,city\n1\n")
    assert (caught.value.code, caught.value.field) == ("csv_broken_row", "inputs/after")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_does_not_fit_is_compared_by_parts(compared, monkeypatch, kind):
    before = pd.DataFrame({"k": range(5000), "x": [i % 7 for i in range(5000)], "t": [f"t{i}" for i in range(5000)]})
    after = before.iloc[::-1].iloc[10:].copy()
    after.loc[after.k % 100 == 0, "x"] = 99
    after = pd.concat([after, pd.DataFrame({"k": [-1], "x": [0], "t": ["new"]})])
    tables = [pa.Table.from_pandas(one, preserve_index=False) for one in (before, after)]
    texts = [one.to_csv(index=False) for one in (before, after)]
    whole, rows, _ = compared(*tables, ["k"])
    monkeypatch.setattr(sides, "IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(diff, "PART_BYTES", 5_000)
    by_parts, parts, _ = compared(*(tables if kind == "parquet" else texts), ["k"])
    names = ("added", "removed", "changed", "same", "rows")
    assert [by_parts[name] for name in names] == [whole[name] for name in names]
    assert (whole["added"], whole["removed"], whole["changed"]) == (1, 10, 50)
    assert sorted(int(k) for k in parts["key.k"].to_pylist()) == sorted(rows["key.k"].to_pylist())


def test_the_same_inputs_give_the_same_bytes(compared, tmp_path):
    compared(BEFORE, AFTER)
    compared(BEFORE, AFTER)
    made = sorted(tmp_path.glob("out*/changes.parquet"))
    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_key_is_named_once():
    with pytest.raises(ValueError, match="more than once"):
        DiffSpec(keys=["a", "a"])
