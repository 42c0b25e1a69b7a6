"""`deepseek run` at a terminal and in a pipe, against a real plane: output, exit codes, and Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import start_plane
from tests.faults.running import PATIENCE

pytestmark = pytest.mark.once_on_sqlite  # terminal, sandbox and exit codes
DEEPSEEK = str(Path(sys.executable).with_name("deepseek"))
SLOW = "import time\nprint('started', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def plane(tmp_path_factory, template, services):
    home = tmp_path_factory.mktemp("scripts") / "home"
    running = start_plane(home, template, services, SCRIPT_SANDBOX="off")  # where it cannot lock a script in
    yield running
    running.kill_everything()


@pytest.fixture
def environment(plane, tmp_path):
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DEEPSEEK_URL": plane.facts()["address"],
        "DEEPSEEK_TOKEN": plane.token,
    }


@pytest.fixture
def write_script(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "code/train.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("raise SystemExit(7)", 7)])
def test_output_is_the_scripts_and_so_is_the_exit_code(environment, write_script, ending, code):
    lines = ["one", "x" * 300, "", "三 [bold]"]
    text = f"import sys\nfor line in {lines!r} + sys.argv[1:]:\n    print(line)\n{ending}\n"
    command = [DEEPSEEK, "run", str(write_script(text)), "--", "--lr", "0.1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (code, [*lines, "--lr", "0.1"]), done.stderr
    assert environment["DEEPSEEK_TOKEN"] not in done.stderr


def test_processes_know_their_ranks(environment, write_script):
    text = "import os\nprint('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'])\n"
    flags = ["--nodes", "1", "--processes", "2", "--gpus", "0", "--name", "try-1"]
    command = [DEEPSEEK, "run", str(write_script(text)), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [line for line in done.stdout.splitlines() if line.startswith("rank ")]
    assert sorted(ranks) == ["rank 0 of 2", "rank 1 of 2"]


@pytest.mark.parametrize(("answer", "state"), [(b"c\n", "cancelled"), (b"d\n", "running")])
def test_interrupted_it_asks(plane, environment, write_script, tmp_path, answer, state):
    ours, theirs = pty.openpty()
    command = [DEEPSEEK, "run", str(write_script(SLOW))]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    try:
        read_until(ours, b"started")
        process.send_signal(signal.SIGINT)
        read_until(ours, b"let it run (d)?")
        os.write(ours, answer)
        assert process.wait(timeout=PATIENCE) == 130
    finally:
        process.kill()
        os.close(ours)
    job = plane.plane.get("/jobs", kind="script", limit=1)["items"][0]
    assert job["state"] == state
    if state == "running":
        plane.plane.post(f"/jobs/{job['id']}/cancel", {"reason": "the test is over"})


def read_until(terminal: int, text: bytes) -> None:
    """Read what a terminal shows until this text; TimeoutError where it does not come."""
    shown, deadline = b"", time.monotonic() + PATIENCE
    while text not in shown:
        if time.monotonic() > deadline:
            raise TimeoutError(shown.decode(errors="replace"))
        shown += os.read(terminal, 4096)
