"""A small CSV file is read in the web process, a larger one in a bounded child, with the same answer."""

from __future__ import annotations

import pytest

from apps.core.errors import Invalid, Unavailable
from apps.data.datasets import bounded_process
from apps.data.datasets.ingest import csv_inspection
from deepseek.tables.csv_dialect import CsvDialect

LIMITS = bounded_process.ProcessLimits(9, 1 << 30, 0)
LARGE = csv_inspection.INLINE_BYTES + 1
ROWS = "é;n\n" + "a;1\n" * 1000


def test_the_child_says_what_this_process_says():
    data = [ROWS.encode("gb18030")]
    dialect = CsvDialect(";", "gb18030")
    sizes = (1, LARGE)
    assert [csv_inspection.find_file_dialect(data, size, "auto", "gb18030") for size in sizes] == [dialect, dialect]
    small, large = (csv_inspection.inspect_file(data, size, dialect) for size in sizes)
    assert small == large


def test_what_is_wrong_with_a_large_file_is_told_alike_and_at_once():
    def endless():
        yield b"a,b\n1,2,3\n"
        while True:
            yield b"1,2\n" * 10_000

    with pytest.raises(Invalid) as small:
        csv_inspection.inspect_file([b"a,b\n1,2,3\n"], 1, CsvDialect())
    with pytest.raises(Invalid) as large:
        csv_inspection.inspect_file(endless(), LARGE, CsvDialect())
    assert large.value.first() == small.value.first()


def test_a_file_that_takes_too_long_is_given_up(monkeypatch):
    def endless():
        yield b"a\n"
        while True:
            yield b"1\n" * 100_000

    monkeypatch.setattr(csv_inspection, "SECONDS", 1)
    monkeypatch.setattr(csv_inspection, "BYTES_PER_SECOND", 10 * LARGE)
    with pytest.raises(Invalid) as raised:
        csv_inspection.inspect_file(endless(), LARGE, CsvDialect())
    assert (raised.value.code, raised.value.limit) == ("csv_too_slow", "1 s")


def test_every_fault_has_a_code():
    faults = {why: csv_inspection.build_fault_error(why, LIMITS).code for why in bounded_process.ProcessFault}
    assert faults == {
        bounded_process.ProcessFault.TIME: "csv_too_slow",
        bounded_process.ProcessFault.MEMORY: "csv_too_much_memory",
        bounded_process.ProcessFault.FAILED: "csv_unread",
    }


def test_so_many_at_once(monkeypatch):
    monkeypatch.setattr(csv_inspection, "SLOT_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(csv_inspection, "slots", csv_inspection.threading.BoundedSemaphore(1))
    with (
        csv_inspection.wait_for_reader_slot(),
        pytest.raises(Unavailable) as raised,
        csv_inspection.wait_for_reader_slot(),
    ):
        pass
    assert raised.value.code == "checks_busy"
