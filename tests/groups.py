"""Which tests share a process of a parallel run (`--dist=loadgroup`), and which of them start first.

The longest group starts first: one that started last would leave the other processes with nothing to do.
"""

from __future__ import annotations

import pytest

LONGEST_FIRST = (
    "browser",
    "deploy",
    "demo",
    "pages",
    "git",
    "mlflow",
    "training walkthrough",
    "rest walkthrough",
    "client walkthrough",
    "faults test_kill",
    "faults test_kill_chain",
    "faults test_backup",
    "faults test_gang",
    "faults test_sweep",
)
"""Groups by the seconds that they take, as far as that matters. `python -m tests.clock` prints the slowest tests."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After the hooks of the folders, which name the groups, and after the random order, of which as much is left."""
    if config.getoption("--tier") == "services":  # two thousand small tests: each file pays for its fixtures once
        for item in items:
            if not get_group(item):
                item.add_marker(pytest.mark.xdist_group(item.path.stem))
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(get_group(item), len(places)))


def get_group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else ""
