"""The tiers of the suite: which tests a run takes, and which files it need not import (docs/testing.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

E2E_PATHS = (
    "tests/browser",
    "tests/deploy",
    "tests/docs",
    "tests/faults",
    "tests/git",
    "tests/mlflow",
    "tests/controlplane/test_demo.py",
    "tests/test_groups.py",
)
"""What starts whole planes, browsers or stock clients, or needs root."""

SERVICES_PATHS = ("tests/faults", "tests/mlflow")
"""Marked `services` as a folder; every other file says so itself."""

TIERS = {
    "test": "not e2e",
    "e2e": "e2e and not full_matrix and not once_on_postgresql",
    "services": "services and not full_matrix and not once_on_sqlite",
    "faults-full": "faults or full_matrix",
}
"""Name of the tier -> the marker expression of its tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=TIERS, help="run one tier of the suite; see docs/testing.md")


def pytest_configure(config: pytest.Config) -> None:
    tier = config.getoption("--tier")
    if tier:
        chosen = config.option.markexpr
        config.option.markexpr = f"({TIERS[tier]}) and ({chosen})" if chosen else TIERS[tier]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a test file that has no test of this tier: to import them all takes half a minute."""
    tier = config.getoption("--tier")
    if tier and collection_path.is_file() and collection_path.name.startswith("test_"):
        return not may_hold_tests_of(tier, collection_path) or None
    return None


def may_hold_tests_of(tier: str, path: Path) -> bool:
    """Whether the path, or a marker that the file's text names, puts the file into the tier."""
    if tier == "test":
        return not _is_below(path, E2E_PATHS)
    if tier == "services":
        return _is_below(path, SERVICES_PATHS) or "mark.services" in path.read_text()
    return _is_below(path, E2E_PATHS) or "mark.e2e" in path.read_text()


@pytest.hookimpl(tryfirst=True)  # before the markers are chosen from
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_below(item.path, E2E_PATHS):
            item.add_marker("e2e")
        if _is_below(item.path, SERVICES_PATHS):
            item.add_marker("services")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the seed of the random order, which --quiet leaves out of the header."""
    if config.pluginmanager.hasplugin("randomly"):
        terminalreporter.write_line(
            f"random order: repeat it with -p randomly --randomly-seed={config.option.randomly_seed}"
        )


def _is_below(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(ROOT / folder) for folder in folders)
