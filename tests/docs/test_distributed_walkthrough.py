"""docs/distributed.md, run from top to bottom: what the page shows is what comes."""

from __future__ import annotations

import os

import pytest

from tests.docs.walkthrough import pattern_of, run, steps_of

pytestmark = pytest.mark.xdist_group("distributed walkthrough")  # the page is run once, by the process with the group

STEPS = steps_of("distributed.md")


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    return run(STEPS, tmp_path_factory.mktemp("work"), os.environ, seconds=750)


def test_every_step_prints_what_the_page_shows(printed):
    assert len(STEPS) == 2
    for (_, shown), output in zip(STEPS, printed, strict=True):
        assert pattern_of(shown).search(output), output
