import logging
import sys

from controlplane.logs import OneLine


def written(message, *args, trace=None):
    record = logging.LogRecord("axes", logging.WARNING, __file__, 1, message, args, trace)
    return OneLine("%(levelname)s %(message)s").format(record)


def test_a_line_end_in_a_value_begins_no_line():
    assert written("failure of %s", "a\n2026-01-01 INFO all well\x1b[2K") == (
        "WARNING failure of a\\n2026-01-01 INFO all well\\x1b[2K"
    )


def test_a_trace_keeps_its_lines_and_forges_none():
    try:
        raise ValueError("x\nINFO all well")
    except ValueError:
        lines = written("failed", trace=sys.exc_info()).splitlines()
    assert lines[0] == "WARNING failed"
    assert len(lines) > 3
    assert all(line.startswith("| ") for line in lines[1:])
