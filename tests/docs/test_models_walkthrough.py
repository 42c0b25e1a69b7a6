"""docs/models.md, run from top to bottom by the command line alone: what the page shows is what comes."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.docs.walkthrough import pattern_of, run, steps_of

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page is written for curl"),
    pytest.mark.xdist_group("models walkthrough"),  # the page is run once, by the process that has the group
]

STEPS = steps_of("models.md")
SHOWN = [number for number, (_script, shown) in enumerate(STEPS) if shown]


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    return run(STEPS, tmp_path_factory.mktemp("work"), os.environ, seconds=750)


def test_page_shows_output_of_every_step():
    assert len(STEPS) >= 6
    assert len(SHOWN) == len(STEPS)


@pytest.mark.parametrize("number", SHOWN)
def test_step_prints_what_the_page_shows(printed, number):
    assert pattern_of(STEPS[number][1]).search(printed[number]), printed[number]
