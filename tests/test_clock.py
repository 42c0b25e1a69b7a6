"""The report on slow tests that .ci/run prints."""

from __future__ import annotations

from tests.clock import render_report


def line(test: str, processor: float, *, e2e: bool = False) -> dict:
    return {"test": test, "e2e": e2e, "seconds": processor, "processor": processor}


def test_report_lists_the_slowest_first():
    rows = render_report([line("quick", 0.1), line("slow", 2.0)]).splitlines()
    assert [row.split()[-1] for row in rows[1:]] == ["slow", "quick"]


def test_report_is_cut_after_twenty():
    assert len(render_report([line(f"t{n}", n / 10) for n in range(50)]).splitlines()) == 21


def test_report_names_a_slow_test_unless_it_is_end_to_end():
    rows = render_report([line("unit", 10.1), line("plane", 99.0, e2e=True)]).splitlines()
    assert "defect" in rows[3]
    assert [row.split()[-1] for row in rows[4:]] == ["unit"]
