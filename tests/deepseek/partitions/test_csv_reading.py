"""A CSV file in ranges of bytes: the table, remarks and first error of one process, whatever is cut where."""

import os
import signal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.job import EngineError
from deepseek.partitions import csv_reading
from deepseek.partitions.carriers import InlineCarrier, attempt, open_carrier
from deepseek.partitions.csv_reading import read_in_ranges, read_range
from deepseek.partitions.sources import partition_arrow
from deepseek.tables import csv_ranges
from deepseek.tables.sources import label_errors, open_table
from deepseek.tables.spec import CsvSpec

SPEC = CsvSpec(delimiter="auto")
AUTO = CsvSpec(delimiter="auto", encoding="auto")
CELLS = ["", "1", "-0", "2.5", "x", "甲", "nan", "NaN", "true", "2024-01-02", "2024-01-02 03:04:05", '"q""q"', '5" x']
CELLS += ['"x\ny"', '"\n"', '""', '"a,\r\n"', '","', '"\n\n""\n"']


def read_whole(path, block, small=0):
    source = open_table(path, SPEC, None, small=small, block=block)
    table = pa.Table.from_batches(source.batches, source.batches.schema)
    return table, source.notes, source.nulls, source.csv


def read_ranges(path, scratch, ranges, block, carrier=None):
    with label_errors(path, "inputs/table", hide=False):
        read = read_in_ranges(path, SPEC, scratch, carrier or InlineCarrier(), 2, block=block, ranges=ranges)
    if read is None:  # one process has to read it
        return read_whole(path, block)
    assert len({file.path for file in read.files}) == len(list(scratch.iterdir()))  # no other file is left
    opened = [source.open() for source in partition_arrow(read.files, read.schema, min(3, read.rows))]
    tables = [pa.Table.from_batches(batches, batches.schema) for batches in opened]
    assert [table.num_rows for table in tables] == [batches.rows for batches in opened]
    name = read.schema.names[-1]
    assert pa.Table.from_batches(opened[-1].select_columns([name])).equals(tables[-1].select([name]))
    return pa.concat_tables(tables), read.notes, read.missing, read.csv


def describe(read, *args):
    try:
        table, *others = read(*args)
    except EngineError as error:
        return error.code, str(error.message), error.field, error.value, error.limit, str(error.hint)
    return table.schema, table.combine_chunks().to_pydict(), others


@given(
    rows=st.lists(st.lists(st.sampled_from(CELLS), min_size=2, max_size=2), min_size=1, max_size=12),
    ragged=st.sampled_from([None, None, ["1"], ["1", "2", "3"], []]),
    place=st.integers(0, 12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    tail=st.sampled_from([b"", b"", b"\n", b"\n\n", b'\n"open,1\n2,3\n4,5', b"\nx,\xff\n1,2\n3\n"]),
    look=st.sampled_from([4, 1 << 20]),
    block=st.sampled_from([7, 60, 1 << 20]),
)
def test_ranges_are_the_whole(tmp_path_factory, rows, ragged, place, end, mark, tail, look, block):
    folder = tmp_path_factory.mktemp("csv")
    rows = rows if ragged is None else [*rows[:place], ragged, *rows[place:]]
    path = folder / "table.csv"
    path.write_bytes(mark + end.join(map(",".join, [["a", "b"], *rows])).encode() + tail.replace(b"\n", end.encode()))
    whole = describe(read_whole, path, 50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_ranges, "LOOK_BACK_BYTES", look)
        patch.setattr(csv_ranges, "LOOK_AHEAD_BYTES", 10 * look)
        for ranges in (1, 2, 7):
            (scratch := folder / str(ranges)).mkdir()
            assert describe(read_ranges, path, scratch, ranges, block) == whole, path.read_bytes()


MARK = b"\xef\xbb\xbf"
BEGINNINGS = {
    "mark, blank lines, quoted header": (MARK + b'\r\n\n"a\nx",b\n1,2\n', {"a\nx": [1], "b": [2]}),
    "mark behind blank lines": (b"\n\r\n" + MARK + b'"a\nx",b\n"1","2"\n3,x\n', "csv_misplaced_mark"),
    "two marks": (MARK + MARK + b"\n1,2\n3,4\n", "csv_misplaced_mark"),
    "mark behind blank lines, no rows": (b"\r" + MARK + b"a,b", "csv_misplaced_mark"),
    "blank lines only": (b"\r\n\n", "table_empty"),
    "mark only": (MARK, "table_empty"),
    "header without a line end": (b'\n"a",b', "table_empty"),
    "open quote in the header": (b'\na,"b\n1,2\n', "broken_csv"),
}


def test_every_reading_has_the_same_table_or_error_for_an_odd_beginning(tmp_path):
    readings = {"at once": (7, 1 << 20), "in blocks": (7, 0), "in one block": (1 << 20, 0)}
    wrong = {}
    for name, (data, wanted) in BEGINNINGS.items():
        (path := tmp_path / f"{name}.csv").write_bytes(data)
        found = {key: describe(read_whole, path, *options) for key, options in readings.items()}
        for ranges in (1, 3):
            (scratch := tmp_path / f"{name}-{ranges}").mkdir()
            found[f"{ranges} ranges"] = describe(read_ranges, path, scratch, ranges, 7)
        got = next(iter(found.values()))[0 if isinstance(wanted, str) else 1]
        if got != wanted or len({repr(each) for each in found.values()}) > 1:
            wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"a,a\n1\n", "duplicate_column"),
        (b"a,a\n1,\xff\n", "duplicate_column"),
        (b"a,b\n1\n2,\xff\n", "csv_broken_row"),
        (b"a,b\n2,\xff\n1\n", "csv_undecodable"),
    ],
)
def test_of_two_faults_the_first_is_named_however_the_file_is_read(tmp_path, data, code):
    (path := tmp_path / "table.csv").write_bytes(data)
    (scratch := tmp_path / "scratch").mkdir()
    found = [describe(read_whole, path, 50, 1 << 20), describe(read_whole, path, 50)]
    found.append(describe(read_ranges, path, scratch, 2, 7))
    assert [each[0] for each in found] == [code] * 3
    assert found[0] == found[1] == found[2]


def write(path, rows=4_000):
    """Numbers that become text in the last range, and cells of several lines."""
    lines = [f'{row},{row if row < rows - 9 else "x"},"a\nb, {row}",{row % 7}' for row in range(rows)]
    path.write_text("id,late,text,n\n" + "\n".join(lines), newline="")
    return path


def lose_once(task):
    """Read the range; the process of the second one is killed at its first attempt."""
    lost = task.folder / "lost"
    with (task.folder / f"attempts-{os.getpid()}").open("a") as file:
        file.write(f"{task.part.start} {task.schema is None}\n")
    outcome = attempt(read_range, task)
    if 20_000 < task.part.start < 40_000 and not lost.exists():
        lost.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome.value


def test_a_killed_process_reads_its_range_again(tmp_path, monkeypatch):
    path, scratch = write(tmp_path / "table.csv"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(csv_reading, "read_range", lose_once)
    with open_carrier(2) as carrier:
        read = read_in_ranges(path, SPEC, scratch, carrier, 2, ranges=4)
    [everything] = partition_arrow(read.files, read.schema, 1)
    whole, notes, nulls, _ = read_whole(path, 10_000)
    assert pa.Table.from_batches(everything.open()).equals(whole)
    assert (read.notes, read.missing) == (notes, nulls)
    assert notes
    tasks = [line for file in scratch.glob("attempts-*") for line in file.read_text().splitlines()]
    assert 8 <= len(tasks) <= 9  # four ranges, three of them again as text; the killed one, and what ran beside it


def test_what_one_process_reads(tmp_path):
    files = {
        "short": b"a,b\n1,2\n",
        "gb18030": "名,值\n甲,1\n".encode("gb18030") * 9,
        "json": b'{"a": 1}\n',
        "header": b"a,b\n\n\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        ranges = None if name == "short" else 2
        assert read_in_ranges(tmp_path / name, AUTO, tmp_path, InlineCarrier(), 2, ranges=ranges) is None
    assert describe(read_ranges, tmp_path / "header", tmp_path, 2, 99)[0] == "table_empty"
    (tmp_path / "twice").write_bytes(b"a,a\n1,2\n3\n")
    assert describe(read_ranges, tmp_path / "twice", tmp_path, 2, 99)[0] == "duplicate_column"
