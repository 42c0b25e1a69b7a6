"""The file of schedules: kept whole, read again, and what of it is not taken."""

import json

import pytest

from deepseek.compile.schedules import Schedule, ScheduleBook, name_target
from deepseek.compile.tiles import Tile
from deepseek.job import EngineError


def build(rows=1, seconds=1.0, tvm="1.0", **fields):
    record = {"schema": "plane/schedule/v1", "workload": "linear", "columns": 16, "target": "here"}
    return Schedule(rows=rows, seconds=seconds, tvm=tvm, **(record | fields))


def test_written_and_read_again(tmp_path):
    book, path = ScheduleBook("1.0"), tmp_path / "schedules.jsonl"
    for schedule in (build(1, 2.0), build(2, 1.0), build(2, 0.5), build(4, target="elsewhere")):
        book.add(schedule)
    book.write(path)
    again = ScheduleBook("1.0")
    assert again.read(path).describe(path, "1.0") == []
    assert again.find("linear", "here") == {Tile(1, 16): 2.0, Tile(2, 16): 0.5}
    assert again.rank_elsewhere("linear", "here") == [Tile(4, 16)]
    again.write(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["again.jsonl", "schedules.jsonl"]


def test_damaged_lines_are_named_and_left_out(tmp_path):
    path = tmp_path / "schedules.jsonl"
    lines = [build(1).to_json(), "{\n", build(2).to_json(), build(4, tvm="0.9").to_json(), build(8).to_json()[:40]]
    path.write_text("".join(lines))
    book = ScheduleBook("1.0")
    told = book.read(path).describe(path, "1.0")
    assert "line 2 is no schedule; 2 such lines" in told[0]
    assert "1 schedules of TVM 0.9 are not used" in told[1]
    assert sorted(tile.rows for tile in book.find("linear", "here")) == [1, 2]


@pytest.mark.parametrize("content", [b"garbage", b"\x00\xff\n{}\n", json.dumps({"rows": 1}).encode()])
def test_no_file_of_schedules(tmp_path, content):
    path = tmp_path / "schedules.jsonl"
    path.write_bytes(content)
    with pytest.raises(EngineError) as caught:
        ScheduleBook("1.0").read(path)
    assert (caught.value.code, caught.value.field) == ("schedules_unreadable", "inputs/schedules")
    assert "line 1" in caught.value.message


def test_an_empty_file_holds_nothing(tmp_path):
    path = tmp_path / "schedules.jsonl"
    path.touch()
    book = ScheduleBook("1.0")
    book.read(path)
    assert len(book) == 0


def test_a_target_is_named_by_what_decides():
    target = {"kind": "llvm", "mcpu": "znver5", "num-cores": 1, "tag": "", "keys": ["cpu"]}
    assert name_target(target) == '{"kind":"llvm","mcpu":"znver5","num-cores":1}'
