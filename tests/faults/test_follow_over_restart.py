"""`deepseek logs -f` over a web process that is killed: every line once, in order, and the job's exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.running import PATIENCE

pytestmark = pytest.mark.once_on_sqlite  # the client asks again by REST; the log is one query on both
LINES = 40


def test_no_line_is_lost_or_repeated(shared, tmp_path):
    job = shared.submit(kind="noop", spec={"log_lines": LINES, "steps": LINES, "seconds": 12.0})
    shared.in_the_middle(job, done=3)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DEEPSEEK_URL": shared.facts()["address"],
        "DEEPSEEK_TOKEN": shared.token,
    }
    command = [str(Path(sys.executable).with_name("deepseek")), "logs", "-f", str(job)]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        follower = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        try:
            deadline = time.monotonic() + PATIENCE
            while not (tmp_path / "out").read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            shared.kill("web", job)
            code = follower.wait(timeout=PATIENCE)
        finally:
            follower.kill()
    assert code == 0, (tmp_path / "err").read_text()
    assert (tmp_path / "out").read_text().splitlines() == [f"line {n} of {LINES}" for n in range(1, LINES + 1)]
