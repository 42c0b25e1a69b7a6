"""docs/rest.md, run from top to bottom against a plane of its own: what the page shows is what comes."""

from __future__ import annotations

import shutil

import pytest

from controlplane.env import BASE_DIR
from tests.docs.walkthrough import pattern_of, run, steps_of
from tests.faults.homes import prepare_home
from tests.faults.running import Running, environment_of

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page is written for curl"),
    pytest.mark.xdist_group("rest walkthrough"),  # the page is run once, by the process that has the group
]

STEPS = steps_of("rest.md")
SHOWN = [number for number, (_script, shown) in enumerate(STEPS) if shown]


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    environment = environment_of(home, WEB_WORKERS="1")
    prepare_home(environment, accounts=False)
    (work / "manage.py").write_text(
        f"import runpy\nrunpy.run_path({str(BASE_DIR / 'manage.py')!r}, run_name='__main__')\n"
    )
    running = Running(home, environment, token="")
    try:
        return run(STEPS, work, {**environment, "PLANE": running.facts()["address"]}, seconds=750)
    finally:
        running.stop()
        running.kill_everything()


def test_page_has_steps():
    assert len(STEPS) >= 10
    assert len(SHOWN) >= len(STEPS) - 1, "a step that shows nothing proves nothing"


def test_pattern_refuses_other_output():
    assert pattern_of("20\n{...}").search("1\n20\n{a}\n")
    assert not pattern_of("20\n{...}").search("200\n{a}\n")


@pytest.mark.parametrize("number", SHOWN)
def test_step_prints_what_the_page_shows(printed, number):
    assert pattern_of(STEPS[number][1]).search(printed[number]), printed[number]
