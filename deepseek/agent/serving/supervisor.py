"""Keeps one server alive at the device's address, and hands over from one to the next without a gap.

The next server is started beside the one that answers; once it is ready, the other one ends. Where the next one fails,
the other one is still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from deepseek.agent.log import JsonLog
from deepseek.agent.serving.servers import ModelServer, Recording, ServerFactory
from deepseek.agent.updating.versions import InstalledVersion

START_SECONDS = 300.0
"""A large model is loaded and measured before its server answers."""
STEADY_SECONDS = 60.0
"""A server that lived so long starts again at once when it ends."""
RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0, 60.0)
"""Pauses before a server that ended is started again; the last one for all that follow."""
ALIVE_SECONDS = 10.0
SILENT_CHECKS = 3
"""A server that does not answer so many checks of its health is ended, and another one is started."""

Handover = Literal["starting", "serving", "failed"]


class Supervisor:
    """The servers of one device. `step` is called often and never waits for a server to start."""

    def __init__(self, factory: ServerFactory, log: JsonLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._factory, self._log, self._clock = factory, log, clock
        self.current: ModelServer | None = None
        self.next: ModelServer | None = None
        self.error = ""
        """Why the last server failed; empty once one answers."""
        self.restarts = 0
        self.recording: Recording | None = None
        """What the servers that are started from now on record."""
        self._deadline = self._began = self._restart_at = self._alive_at = 0.0
        self._failures = self._silent = 0
        self._restarting: InstalledVersion | None = None

    def replace(self, version: InstalledVersion) -> None:
        """Let `version` answer as soon as its server is ready."""
        self.drop_next()
        self.next = self._factory.start(version, self.recording)
        self._restarting = None  # only now: a restart that fails for want of disk or memory is tried again
        self._deadline = self._clock() + START_SECONDS

    def stop(self) -> None:
        """End all servers."""
        self.drop_next()
        self._restarting = None
        server, self.current = self.current, None
        if server is not None:
            server.stop()

    def drop_next(self) -> None:
        """Stay with the server that answers."""
        server, self.next = self.next, None
        if server is not None:
            server.stop()

    @property
    def is_idle(self) -> bool:
        """Whether no server answers, starts, or is to be started again."""
        return self.current is None and self.next is None and self._restarting is None

    def get_serving(self, release: str) -> ModelServer | None:
        """The server of this release, if it and no other one answers."""
        server = self.current
        if server is None or self.next is not None or server.version.release != release or server.has_ended():
            return None
        return server

    def step(self) -> Handover:
        """Look after the servers: finish a handover, restart what has ended."""
        if self.next is not None:
            return self._finish_handover(self.next)
        if self.current is not None and self.current.has_ended():
            self._note_end(self.current)
        if self._restarting is not None and self._clock() >= self._restart_at:
            self.replace(self._restarting)
            self.restarts += 1
            return "starting"
        if self.current is None:
            return "failed"
        self._check_alive(self.current)
        return "serving"

    def _finish_handover(self, server: ModelServer) -> Handover:
        if server.has_ended() or self._clock() > self._deadline:
            reason = server.describe_end() if server.has_ended() else f"it was not ready within {START_SECONDS:g} s"
            self.error = f"the server of {server.version.release[:12]} failed: {reason}"
            self._log.write("server_failed", "error", release=server.version.release, reason=reason)
            self.drop_next()
            if self.current is None:
                self._plan_restart(server)
            return "failed"
        if not server.is_ready():
            return "starting"
        former, self.current, self.next = self.current, server, None
        self._began, self._silent, self.error = self._clock(), 0, ""
        self._log.write("server_ready", release=server.version.release)
        if former is not None:
            former.stop()
        return "serving"

    def _note_end(self, server: ModelServer) -> None:
        reason = server.describe_end()
        self.error = f"the server ended: {reason}"
        self._log.write("server_ended", "error", release=server.version.release, reason=reason)
        self.current = None
        if self._clock() - self._began > STEADY_SECONDS:
            self._failures = 0
        self._plan_restart(server)

    def _plan_restart(self, server: ModelServer) -> None:
        self._restarting = server.version
        self._restart_at = self._clock() + RESTART_SECONDS[min(self._failures, len(RESTART_SECONDS) - 1)]
        self._failures += 1

    def _check_alive(self, server: ModelServer) -> None:
        if self._clock() < self._alive_at:
            return
        self._alive_at = self._clock() + ALIVE_SECONDS
        if server.is_alive():
            self._silent, self.error = 0, ""
            return
        self._silent += 1
        if self._silent >= SILENT_CHECKS:
            self._silent = 0
            self._log.write("server_silent", "error", release=server.version.release)
            server.stop()
