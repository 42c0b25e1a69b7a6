"""A page of docs/ as a program: its bash blocks are run, and the text below each is what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from controlplane.env import BASE_DIR

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "-- block {} --"
Steps = list[tuple[str, str]]


def steps_of(page: str) -> Steps:
    """(script, shown) of each step; nothing is shown where a step prints nothing of interest."""
    steps: list[list[str]] = []
    for language, text in FENCE.findall((BASE_DIR / "docs" / page).read_text()):
        if language == "bash":
            steps.append([text, ""])
        elif steps:
            steps[-1][1] = text
    return [(script, shown) for script, shown in steps]


def run(steps: Steps, work: Path, environment: Mapping[str, str], *, seconds: float) -> list[str]:
    """What each step printed, all run in one shell in `work`; the shell ends at the first command that fails.

    Whatever a page starts in the background ends with the page.
    """
    parts = "".join(f"echo '{MARK.format(number)}'\n{script}" for number, (script, _shown) in enumerate(steps))
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", parts],
        cwd=work,
        env={**environment, "PATH": path, "PYTHONPATH": str(BASE_DIR)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, said = shell.communicate(timeout=seconds)
    finally:
        end_session(shell)
    assert shell.returncode == 0, printed[-3000:] + said
    return re.split(r"^-- block \d+ --\n", printed, flags=re.MULTILINE)[1:]


def end_session(shell: subprocess.Popen[str]) -> None:
    """Kill the shell and what it started; a process group outlives its leader."""
    try:
        os.killpg(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    shell.wait()


def pattern_of(shown: str) -> re.Pattern[str]:
    """The page's text as an expression: `...` is anything."""
    lines = (".*".join(re.escape(part) for part in line.split("...")) for line in shown.strip().splitlines())
    return re.compile(r"\n(?:.*\n)*?".join(f"^{line}$" for line in lines), re.MULTILINE)
