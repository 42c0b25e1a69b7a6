"""docs/rest.md, run from top to bottom against a plane of its own: what the page shows is what comes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.env import BASE_DIR
from tests.faults.running import Running, environment_of, manage

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "-- block {} --"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the page is written for curl")


def blocks() -> list[tuple[str, str]]:
    """(script, shown) of each step; nothing is shown where a step prints nothing of interest."""
    steps: list[list[str]] = []
    for language, text in FENCE.findall((BASE_DIR / "docs/rest.md").read_text()):
        if language == "bash":
            steps.append([text, ""])
        elif steps:
            steps[-1][1] = text
    return [(script, shown) for script, shown in steps]


STEPS = blocks()
SHOWN = [number for number, (_script, shown) in enumerate(STEPS) if shown]


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    """What each step printed, all run in one shell; the shell ends at the first command that fails."""
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    environment = environment_of(home)
    migrated = manage(home, environment, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    running = Running(home, environment, token="")
    try:
        return run(work, environment, running.facts()["address"])
    finally:
        running.stop()
        running.kill_everything()


def run(work: Path, environment: dict[str, str], address: str) -> list[str]:
    (work / "manage.py").write_text(
        f"import runpy\nrunpy.run_path({str(BASE_DIR / 'manage.py')!r}, run_name='__main__')\n"
    )
    parts = "".join(f"echo '{MARK.format(number)}'\n{script}" for number, (script, _shown) in enumerate(STEPS))
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment = {**environment, "PATH": path, "PLANE": address, "PYTHONPATH": str(BASE_DIR)}
    command = ["bash", "-euo", "pipefail", "-c", parts]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return re.split(r"^-- block \d+ --\n", done.stdout, flags=re.MULTILINE)[1:]


def pattern_of(shown: str) -> re.Pattern[str]:
    """The page's text as an expression: `...` is anything."""
    lines = (".*".join(re.escape(part) for part in line.split("...")) for line in shown.strip().splitlines())
    return re.compile(r"\n(?:.*\n)*?".join(f"^{line}$" for line in lines), re.MULTILINE)


def test_the_page_has_its_steps():
    assert len(STEPS) >= 10
    assert len(SHOWN) >= len(STEPS) - 1, "a step that shows nothing proves nothing"


def test_a_page_that_shows_something_else_is_found_out():
    assert pattern_of("20\n{...}").search("1\n20\n{a}\n")
    assert not pattern_of("20\n{...}").search("200\n{a}\n")


@pytest.mark.parametrize("number", SHOWN)
def test_a_step_prints_what_the_page_shows(printed, number):
    assert pattern_of(STEPS[number][1]).search(printed[number]), printed[number]
