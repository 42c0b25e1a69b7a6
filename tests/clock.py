"""Processor and wall time of each test, and the table of them at the end of a run.

With TEST_CLOCK=DIR every test process appends one JSON line a test to a file of its own in DIR;
`python -m tests.clock DIR` prints the slowest, and names what is too slow for its tier.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SLOWEST = 20  # tests in the table
MAX_NAME = 160  # characters of a test's name in the table: a case's value may be a whole document
QUICK_TEST_SECONDS = 10.0  # of processor time, for a test that is not `e2e`


def processor_seconds() -> float:
    """Processor time of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    folder = os.environ.get("TEST_CLOCK")
    if not folder:
        return (yield)
    wall, processor = time.monotonic(), processor_seconds()
    answer = yield
    seconds = time.monotonic() - wall
    # A child that a shared fixture started long ago counts when it ends: no test takes more than all cores give it.
    used = min(processor_seconds() - processor, seconds * (os.cpu_count() or 1))
    line = {
        "test": item.nodeid.partition("@")[0],
        "e2e": item.get_closest_marker("e2e") is not None,
        "seconds": round(seconds, 3),
        "processor": round(used, 3),
    }
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return answer


def render_report(lines: list[dict]) -> str:
    """The slowest tests by processor time, then every test outside e2e that takes too much of it."""
    lines = sorted(lines, key=lambda line: line["processor"], reverse=True)
    total = sum(line["processor"] for line in lines)
    rows = [f"{len(lines)} tests, {total:.0f} s of processor time; the slowest {min(SLOWEST, len(lines))}:"]
    rows += [render_row(line) for line in lines[:SLOWEST]]
    slow = [line for line in lines if not line["e2e"] and line["processor"] > QUICK_TEST_SECONDS]
    if slow:
        rows.append(f"outside e2e and over {QUICK_TEST_SECONDS:.0f} s of processor time, each a defect to fix:")
        rows += [render_row(line) for line in slow]
    return "\n".join(rows)


def render_row(line: dict) -> str:
    return f"  {line['processor']:7.1f} s processor  {line['seconds']:7.1f} s  {line['test'][:MAX_NAME]}"


def main(folder: str) -> None:
    paths = sorted(Path(folder).glob("*.jsonl"))
    print(render_report([json.loads(line) for path in paths for line in path.read_text().splitlines()]))


if __name__ == "__main__":
    main(sys.argv[1])
