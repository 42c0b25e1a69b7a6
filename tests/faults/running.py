"""A whole plane in a folder of the test: started by its one command, watched by REST, and killed in parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from controlplane.rest_client import ApiError, PlaneClient, wait_until_ready
from tests.faults.console import Console

ROOT = Path(__file__).resolve().parents[2]
LEASE = 10.0  # of a worker that lives and is starved of its processor, none must run out
LONG_LEASE = 600.0
GROUP = 65534
SECRET = "only the processes of the plane know this one"
PATIENCE = 240.0  # seconds until a plane has started, or a job is where a test wants it: the machine may be busy


def manage(home: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


def environment_of(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "OPENBLAS_CORETYPE")}
    settings = {"PLANE_HOME": str(home), "PORT": "0", "LEASE_SECONDS": str(LEASE), "DISPATCH_SECONDS": "0.3"}
    settings |= {"RETRY_SECONDS": "0.5", "SECOND_FACTOR_ROLES": ""}
    return {
        **kept,
        **settings,
        "SECRET_KEY": SECRET,
        "NODE_CPUS": "4",
        "NODE_NAME": "faulty",
        "WEB_THREADS": "16",
        "WEB_WORKERS": "1",  # each imports all pages anew; what is about several says so
        **more,
    }


class Running:
    """The launcher's process and what it started. `environment` decides which mode it is."""

    parts = "web,worker,dispatcher"  # beat, a process more, only rings for housekeeping
    prefix: tuple[str, ...] = ()  # puts the processes into another network

    def __init__(self, home: Path, environment: dict[str, str], token: str, *, parts: str = "") -> None:
        self.home, self.environment, self.token, self.parts = home, environment, token, parts or self.parts
        self.console: Console | None = None
        try:
            self.start()
        except BaseException:
            self.kill_everything()
            raise

    def start(self) -> None:
        (self.home / "plane.json").unlink(missing_ok=True)
        command = [*self.prefix, sys.executable, str(ROOT / "manage.py"), "up", "--no-migrate", "--only", self.parts]
        with (self.home / "up.log").open("ab") as log:
            # As root in a group of its own: that of a process's files in /proc tells who may look into it.
            group = GROUP if os.geteuid() == 0 else None
            self.launcher = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True, group=group
            )
        deadline = time.monotonic() + PATIENCE
        while not (self.home / "plane.json").exists():
            if self.launcher.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError((self.home / "up.log").read_text())
            time.sleep(0.05)
        address = self.facts()["address"]
        self.plane = self.build_client(address, self.token, "demo")
        self.await_ready(address)

    def await_ready(self, address: str) -> None:
        wait_until_ready(address, seconds=PATIENCE)

    def build_client(self, address: str, token: str, project: str) -> PlaneClient:
        return PlaneClient(address, token, project, patience=30)

    def facts(self) -> dict:
        return json.loads((self.home / "plane.json").read_text())

    def submit(self, **body) -> int:
        return self.plane.post("/jobs", body)["id"]

    def patient(self, call, *, seconds: float = PATIENCE):
        """Repeat a call while the plane answers that a part of it is away (503)."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return call()
            except ApiError as answer:
                if answer.status != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def in_the_middle(self, job: int, *, done: float, seconds: float = PATIENCE) -> dict:
        """Wait until the job has reported `done` units."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.plane.get(f"/jobs/{job}")
            if (found["progress"] or {}).get("done", 0) >= done or found["state"] not in (
                "queued",
                "waiting",
                "running",
            ):
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found}")
            time.sleep(0.1)

    def checkpointed(self, job: int) -> dict:
        """Wait until a checkpoint of the job is stored."""
        return self.until(job, lambda found: found["checkpoint"])

    def at_stage(self, job: int, *stages: str) -> dict:
        """Wait until the job is at work in one of these stages."""
        return self.until(job, lambda found: (found["progress"] or {}).get("stage") in stages)

    def until(self, job: int, condition: Callable[[dict], Any], *, seconds: float = PATIENCE) -> dict:
        """Wait for the job; one that ends before is a fault of the test."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.plane.get(f"/jobs/{job}")
            if condition(found):
                return found
            if found["state"] not in ("queued", "waiting", "running") or time.monotonic() > deadline:
                raise TimeoutError(f"{found}")
            time.sleep(0.1)

    def log(self, job: int) -> list[str]:
        return [line["text"] for line in self.plane.get(f"/jobs/{job}/log", limit=5000)["items"]]

    def ask(self, code: str) -> Any:
        """What a snippet prints as JSON, in a process of the plane's own settings."""
        return json.loads(self.run_code(code))

    def run_code(self, code: str) -> str:
        """What a snippet prints."""
        if self.console is None:
            self.console = Console(self.environment, prefix=self.prefix)
        return self.console.run(code)

    # -- victims --------------------------------------------------------------------------------------------------
    def part(self, name: str) -> psutil.Process:
        return psutil.Process(self.facts()["processes"][name])

    def shim(self, job: int) -> psutil.Process:
        return next(process for process in self.marked(job) if "shim.py" in " ".join(process.cmdline()))

    def engine(self, job: int) -> psutil.Process:
        return self.shim(job).children()[0]

    def marked(self, job: int, attempt: int | None = None) -> list[psutil.Process]:
        """Every process of the job or of one attempt of it, by the marker in its environment, its shim first."""
        mark = f"{job}:" if attempt is None else f"{job}:{attempt}:"
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PLANE_JOB", "").startswith(mark) and self.owns(process):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return sorted(found, key=lambda process: process.create_time())

    def owns(self, process: psutil.Process) -> bool:
        return process.environ().get("HOME", "").startswith(str(self.home))

    def kill(self, name: str, job: int) -> None:
        """kill -9 of one process: engine, shim, worker, dispatcher, web (its master) or launcher."""
        victims = {"engine": self.engine, "shim": self.shim}
        process = victims[name](job) if name in victims else self.launcher if name == "launcher" else self.part(name)
        process.send_signal(signal.SIGKILL)
        if name == "launcher":
            self.launcher.wait(timeout=PATIENCE)

    # -- after ----------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        if self.launcher.poll() is None:
            self.launcher.terminate()
            self.launcher.wait(timeout=PATIENCE)

    def kill_everything(self) -> None:
        """For the end of a test, whatever has happened to it."""
        if self.console is not None:
            self.console.close()
        for process in psutil.process_iter():
            try:
                inside = process.environ().get("PLANE_HOME") == str(self.home) or self.owns(process)
                if inside and process.pid != os.getpid():
                    process.kill()
            except (psutil.Error, OSError):
                continue
