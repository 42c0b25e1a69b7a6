"""Which files a tier reads: what is left out here is never run by its make target."""

from __future__ import annotations

import re

import pytest

from tests.tiers import E2E_PATHS, ROOT, TIERS, may_hold_tests_of

FILES = sorted((ROOT / "tests").rglob("test_*.py"))


def test_every_path_of_a_tier_exists():
    assert [path for path in E2E_PATHS if not (ROOT / path).exists()] == []


def test_every_file_is_read_by_the_quick_tier_or_the_end_to_end_tier():
    assert [path for path in FILES if not (may_hold_tests_of("test", path) or may_hold_tests_of("e2e", path))] == []


@pytest.mark.parametrize("tier", ["services", "e2e"])
def test_a_file_that_marks_itself_is_read(tier, tmp_path):
    path = tmp_path / "test_one.py"
    path.write_text("pass")
    assert not may_hold_tests_of(tier, path)
    path.write_text(f"pytestmark = pytest.mark.{tier}")
    assert may_hold_tests_of(tier, path)


def test_every_tier_has_a_make_target_and_runs_in_ci_or_by_name():
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"--tier ([\w-]+)", makefile)) == set(TIERS)
