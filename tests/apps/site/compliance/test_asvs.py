"""docs/asvs.md names tests and probes that exist, each requirement once, and counts its rows right."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from apps.site.compliance.probes.registry import PROBES

ROOT = Path(__file__).parents[4]
ROW = re.compile(r"\| (V\d+\.\d+\.\d+) \| ([12]) \| ([^|]+) \| (met|partly|not met|n/a) \| ([^|]+) \|")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
PROBE = re.compile(r"probe `([\w-]+)`")
PAGE = re.compile(r"\]\(([\w-]+\.md)\)")


@pytest.fixture(scope="module")
def text():
    return (ROOT / "docs" / "asvs.md").read_text()


@pytest.fixture(scope="module")
def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| V")]
    matches = [ROW.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, matches, strict=True) if match is None] == []
    return [match.groups() for match in matches if match]


def test_each_requirement_stands_once(rows):
    assert [name for name, count in Counter(row[0] for row in rows).items() if count > 1] == []
    assert Counter(row[1] for row in rows) == {"1": 70, "2": 183}  # of ASVS 5.0.0


def test_named_tests_and_probes_exist(text):
    sources = {path: (ROOT / path).read_text() if (ROOT / path).is_file() else "" for path, _ in TEST.findall(text)}
    missing = [f"{path}::{name}" for path, name in TEST.findall(text) if f"def {name}(" not in sources[path]]
    missing += [name for name in PROBE.findall(text) if name not in PROBES]
    missing += [page for page in PAGE.findall(text) if not (ROOT / "docs" / page).is_file()]
    assert missing == []
    assert len(TEST.findall(text)) == text.count(".py::")


def test_what_is_met_is_shown(rows):
    shown = (TEST, PROBE, PAGE)
    assert [row[0] for row in rows if row[3] == "met" and not any(each.search(row[4]) for each in shown)] == []


def test_figures_are_those_of_the_rows(text, rows):
    counts = Counter((row[3], row[1]) for row in rows)
    for state in ("met", "partly", "not met", "n/a"):
        assert f"| {state} | {counts[state, '1']} | {counts[state, '2']} |" in text
