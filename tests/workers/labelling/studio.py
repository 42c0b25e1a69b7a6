"""A real Label Studio for tests, as `manage.py up --with labelling` starts it and starts it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.faults.homes import ROOT, prepare_home
from tests.faults.running import environment_of

ENVIRONMENT = Path(os.environ.get("LABELLING_ENV", ".label-studio")).absolute()
PATIENCE = 300.0  # seconds: the machine may be busy


def skip_without_studio() -> None:
    if not (ENVIRONMENT / "bin/label-studio").exists():
        pytest.skip("no Label Studio: make labelling", allow_module_level=True)


class Studio:
    """The launcher with the part that wants least beside Label Studio. `kill` is undone by the launcher."""

    def __init__(self, home: Path) -> None:
        self.home = home
        environment = environment_of(home, LABELLING_ENV=str(ENVIRONMENT))
        prepare_home(environment, accounts=False)
        command = [
            sys.executable,
            str(ROOT / "manage.py"),
            "up",
            "--no-migrate",
            "--only",
            "beat",
            "--with",
            "labelling",
        ]
        with (home / "up.log").open("wb") as log:
            self.launcher = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
        self.wait()
        account = json.loads((home / "label-studio/account.json").read_text())
        self.host, self.token = f"127.0.0.1:{account['port']}", str(account["token"])

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_healthy():
            assert self.launcher.poll() is None, (self.home / "up.log").read_text()
            assert time.monotonic() < deadline, (self.home / "logs/labelling.log").read_text()[-2000:]
            time.sleep(0.2)

    def is_healthy(self) -> bool:
        try:
            port = json.loads((self.home / "label-studio/account.json").read_text())["port"]
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
        except (OSError, httpx.HTTPError):
            return False

    def find_process(self) -> psutil.Process:
        facts = json.loads((self.home / "plane.json").read_text())
        return psutil.Process(facts["processes"]["labelling"])

    def kill(self) -> None:
        process = self.find_process()
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)

    def stop(self) -> None:
        """End the launcher; Label Studio ends with it."""
        process = self.find_process()
        self.launcher.terminate()
        self.launcher.wait(timeout=60)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
