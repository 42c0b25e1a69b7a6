"""`deepseek serve` as a child of the agent.

The agent holds the listening socket of the device's address and lends it to each server. So an old and a new one can
answer beside each other while one takes over, and connections that come while none runs wait instead of failing.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentFailure
from deepseek.agent.serving.server_client import ServerClient
from deepseek.agent.serving.servers import Recording
from deepseek.agent.updating.versions import InstalledVersion, get_served_name

PACKAGES = Path(__file__).resolve().parents[3]
STOP_SECONDS = 8.0
"""A server lets its requests end for 5 s."""
MAX_LOG_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1
ANNOUNCED = re.compile(rb" on https?://\S+?:(\d+)\n")
_LIBC = ctypes.CDLL(None)


class ServerProcess:
    """A running `deepseek serve`. It ends with the agent, however that ends."""

    def __init__(
        self,
        version: InstalledVersion,
        words: Sequence[str],
        *,
        host: str,
        log: Path,
        folder: Path,
        recording: Recording | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.version, self.recording = version, recording
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._log = log
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.old"))
        agent = os.getpid()

        def end_with_agent() -> None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != agent:  # it had ended before that
                os._exit(1)

        with log.open("ab") as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deepseek.cli", "serve", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=build_environment(folder),
                pass_fds=() if listener is None else (listener.fileno(),),
                preexec_fn=end_with_agent,
            )
        self._client = ServerClient(host)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_ready(self) -> bool:
        if self._client.port is None and (port := self._read_port()) is not None:
            self._client.port = port
        return self._client.port is not None and not self.has_ended()

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def predict(self, rows: Sequence[Any]) -> list[Any]:
        return self._client.predict(rows)

    def is_alive(self) -> bool:
        return not self.has_ended() and self._client.is_alive()

    def read_metrics(self) -> Mapping[str, float]:
        return {} if self.has_ended() else self._client.read_metrics()

    def describe_end(self) -> str:
        lines = self._read_log().decode(errors="replace").splitlines()
        texts = [line for line in lines if line.startswith("deepseek: ") and "stopped" not in line] or lines
        return texts[-1][:300] if texts else "it wrote nothing"

    def stop(self) -> None:
        if self._wait(0):
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        if not self._wait(STOP_SECONDS):
            self._process.kill()
            self._wait(STOP_SECONDS)

    def _wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read_port(self) -> int | None:
        match = ANNOUNCED.search(self._read_log())
        return int(match[1]) if match else None

    def _read_log(self) -> bytes:
        """What this process has written: the last of it."""
        with suppress(OSError), self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(min(self._begin, end), end - 64_000))
            return file.read()
        return b""


class ServeFactory:
    """Starts servers on one address. Raises AgentFailure ``address_in_use``."""

    def __init__(self, folder: Path, recorded: Path, labels: Path, *, host: str, port: int) -> None:
        self._folder, self._recorded, self._labels, self._host = folder, recorded, labels, host
        self._listener = open_listener(host, port)
        self.port: int = self._listener.getsockname()[1]

    def start_candidate(self, version: InstalledVersion) -> ServerProcess:
        log = self._folder / "candidate.log"
        log.unlink(missing_ok=True)
        words = [describe_source(version), "--host", "127.0.0.1", "--port", "0"]
        return ServerProcess(version, words, host="127.0.0.1", log=log, folder=self._folder)

    def start(self, version: InstalledVersion, recording: Recording | None) -> ServerProcess:
        words = [describe_source(version), "--listen-descriptor", str(self._listener.fileno())]
        words += ["--labels", str(self._labels)]
        if recording is not None and recording.rate > 0:
            words += ["--record", str(self._recorded), "--record-rate", repr(recording.rate)]
        return ServerProcess(
            version,
            words,
            host=choose_loopback(self._host),
            log=self._folder / "server.log",
            folder=self._folder,
            recording=recording,
            listener=self._listener,
        )

    def close(self) -> None:
        self._listener.close()


def describe_source(version: InstalledVersion) -> str:
    """NAME:VERSION=FOLDER, as `deepseek serve` takes it."""
    return f"{get_served_name(version.statement)}:{version.statement.version}={version.folder}"


def open_listener(host: str, port: int) -> socket.socket:
    """The listening socket of the device's address. Raises AgentFailure ``address_in_use``."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise AgentFailure(
            "address_in_use",
            f"Cannot listen on {host} port {port}: {error.strerror or error}.",
            field="--serve",
            value=f"{host}:{port}",
            limit="an address of this machine that is free",
            hint="Name another one: --serve HOST:PORT.",
        ) from None


def choose_loopback(host: str) -> str:
    """The address at which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  listens nowhere


def build_environment(folder: Path) -> dict[str, str]:
    """What a server needs, and nothing of the agent's own environment."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(PACKAGES),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TVM_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
