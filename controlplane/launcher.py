"""`manage.py up`: web, worker, dispatcher and beat as children, started, watched, restarted and stopped in order.

The launcher owns the socket, so a restarted web process misses no connection, and a lock on the home, so two
planes never share one. Each child is in a group of its own and dies with the launcher (parent-death signal).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from controlplane import broker
from controlplane.env import BASE_DIR, Env
from controlplane.label_studio import LabelStudio
from controlplane.logs.rotation import rotate
from controlplane.secret_files import SecretFiles
from controlplane.startup_checks import CannotStart, make_folders

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10.0
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
ROTATE_SECONDS = 5.0
STEADY_SECONDS = 30.0  # alive for so long: the back-off starts anew


@dataclass
class Child:
    name: str
    command: list[str]
    pass_fds: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    failures: int = 0

    def start(self, log: Path) -> None:
        launcher = os.getpid()

        def die_with_launcher() -> None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != launcher:
                os._exit(1)

        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=BASE_DIR,
                env=self.environment,
                pass_fds=self.pass_fds,
                process_group=0,
                preexec_fn=die_with_launcher,
            )
        self.started_at = time.monotonic()

    def is_dead(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def signal_group(self, number: int) -> None:
        if self.process:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return


class Launcher:
    """One plane on one machine."""

    def __init__(
        self, env: Env, *, parts: list[str], say: Callable[[str], None], label_studio: LabelStudio | None = None
    ) -> None:
        self.env, self.parts, self.say, self.label_studio = env, parts, say, label_studio
        self.home = env.home
        self.secrets = SecretFiles(os.environ)
        self.stopping = False
        self.socket: socket.socket | None = None
        self.port = 0
        self.children: list[Child] = []
        self.rotate_at = 0.0

    # -- before ---------------------------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Home, lock, folders and socket; CannotStart with the reason and the way out."""
        os.umask(0o077)
        make_folders(self.env)
        try:
            self.lock = (self.home / "plane.lock").open("a+")
        except OSError as failure:
            raise CannotStart(f"PLANE_HOME={self.home} cannot be written: {failure.strerror}. Name another.") from None
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(f"A plane runs already in {self.home}: see {self.home / 'plane.json'}.") from None
        (self.home / "plane.json").unlink(missing_ok=True)  # of a launcher that was killed
        broker.remove_stale(self.home / "broker" / "queue")
        if "web" in self.parts:
            self.socket = self.bind()
            self.port = self.socket.getsockname()[1]
            os.set_inheritable(self.socket.fileno(), True)

    def bind(self) -> socket.socket:
        """Bind the requested port, or the next free one; 0 takes any."""
        family = socket.AF_INET6 if ":" in self.env.bind else socket.AF_INET
        for port in range(self.env.port, self.env.port + (100 if self.env.port else 1)):
            candidate = socket.socket(family, socket.SOCK_STREAM)
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((self.env.bind, port))
                candidate.listen(2048)
            except OSError as failure:
                candidate.close()
                if failure.errno != errno.EADDRINUSE or port in (0, 65535):
                    raise CannotStart(f"PORT={port} at {self.env.bind} cannot be bound: {failure.strerror}.") from None
                continue
            return candidate
        raise CannotStart(f"No free port in {self.env.port} to {self.env.port + 99} at {self.env.bind}.")

    def plan(self) -> list[Child]:
        manage = [sys.executable, "-m", "controlplane"]
        # A relative home means another folder to children, who start elsewhere.
        home = {**self.secrets.environment, "PLANE_HOME": str(self.home)}
        if self.label_studio is not None:
            hosts = [*self.env.labelling_hosts, self.label_studio.host]
            home["LABELLING_HOSTS"] = ",".join(dict.fromkeys(hosts))
        secrets = tuple(self.secrets.descriptors)
        descriptor = self.socket.fileno() if self.socket else -1
        gunicorn = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-b", f"fd://{descriptor}"]
        web = [*gunicorn, "-c", "python:controlplane.gunicorn_conf"]
        commands = {
            "web": Child("web", web, pass_fds=(descriptor, *secrets), environment=home),
            "worker": Child("worker", [*manage, "worker"], pass_fds=secrets, environment=home),
            "dispatcher": Child("dispatcher", [*manage, "dispatcher"], pass_fds=secrets, environment=home),
            "beat": Child("beat", [*manage, "beat"], pass_fds=secrets, environment=home),
        }
        extra = (
            [Child("labelling", self.label_studio.command, environment=self.label_studio.build_environment())]
            if (self.label_studio is not None)
            else []
        )
        return [*(commands[name] for name in self.parts), *extra]

    def write_facts(self) -> None:
        """Write plane.json, the plane's address and processes, for scripts and tests."""
        facts = {
            "address": f"http://{self.env.bind}:{self.port}" if self.socket else None,
            "port": self.port or None,
            "launcher": os.getpid(),
            "processes": {child.name: child.process.pid for child in self.children if child.process},
        }
        staged = self.home / "plane.json.staged"
        try:
            staged.write_text(json.dumps(facts, indent=1))
            staged.rename(self.home / "plane.json")
        except OSError as failure:  # a full disk must not end the plane that could still tell of it
            self.say(f"plane.json is out of date: {failure.strerror}")

    # -- during ---------------------------------------------------------------------------------------------------
    def run(self) -> int:
        """Start all processes and run until a signal; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.ask_to_stop)
        self.children = self.plan()
        for child in self.children:
            self.start(child)
        self.write_facts()
        if self.socket:
            self.say(f"The plane answers at http://{self.env.bind}:{self.port} (logs in {self.home / 'logs'})")
        if self.label_studio is not None:
            self.say(self.label_studio.describe())
        while not self.stopping:
            self.watch()
            self.rotate_logs()
            time.sleep(0.1)
        self.stop()
        return 0

    def ask_to_stop(self, *_: object) -> None:
        self.stopping = True

    def log_of(self, child: Child) -> Path:
        return self.home / "logs" / f"{child.name}.log"

    def rotate_logs(self) -> None:
        """Rotate log files that are too large; checked at intervals, since each check calls stat on every file."""
        if time.monotonic() < self.rotate_at:
            return
        self.rotate_at = time.monotonic() + ROTATE_SECONDS
        for child in self.children:
            try:
                rotate(
                    self.log_of(child),
                    larger_than=self.env.log_file_bytes,
                    keep=self.env.log_files,
                    keep_days=self.env.log_retention_days,
                )
            except OSError as failure:  # a full disk: the next look tries again
                self.say(f"{self.log_of(child)} cannot be put aside: {failure.strerror}")

    def start(self, child: Child) -> None:
        try:
            child.start(self.log_of(child))
        except OSError as failure:  # no memory, no descriptors, no disk: later perhaps
            child.failures += 1
            self.later(child, f"cannot be started: {failure.strerror}")

    def later(self, child: Child, what: str) -> None:
        pause = BACKOFF[min(child.failures, len(BACKOFF) - 1)]
        self.say(f"{child.name} {what}; starting again in {pause:g} s. Its log: {self.log_of(child)}")
        child.process, child.restart_at = None, time.monotonic() + pause

    def watch(self) -> None:
        """Restart processes that died, with a growing delay while they keep dying."""
        now = time.monotonic()
        for child in self.children:
            if child.is_dead() and child.process:
                steady = now - child.started_at > STEADY_SECONDS
                child.failures = 0 if steady else child.failures + 1
                child.signal_group(signal.SIGKILL)  # what it left: gunicorn's workers, for instance
                self.later(child, f"ended with status {child.process.returncode}")
            elif child.process is None and now >= child.restart_at:
                self.start(child)
                self.write_facts()

    def stop(self) -> None:
        """Send SIGTERM to all processes at once, since an idle worker takes seconds to stop; then SIGKILL the rest."""
        self.say("Stopping")
        for child in self.children:
            if child.process and not child.is_dead():
                os.kill(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not all(c.process is None or c.is_dead() for c in self.children):
            time.sleep(0.05)
        for child in self.children:
            child.signal_group(signal.SIGKILL)
        (self.home / "plane.json").unlink(missing_ok=True)
