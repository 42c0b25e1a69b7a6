"""Keeps the server of one replica alive and at its version. A thread each: a model that loads holds up no other."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from apps.core.errors import PlaneError
from apps.ml.endpoints.access import is_loopback
from apps.ml.endpoints.services import ReplicaReport
from apps.ml.endpoints.states import ReplicaState
from deepseek.job import EngineError
from deepseek.messages import Message
from deepseek.models.manifest import MANIFEST_NAME, ModelManifest
from deepseek.models.packages import list_runtime_modules
from workers.endpoints import control
from workers.endpoints.access import ServerAccess
from workers.endpoints.figures import FigureWindow
from workers.endpoints.server_process import ForkServer, ServerProcess, read_record, write_record
from workers.endpoints.staging import VersionFiles, stage_version

log = logging.getLogger(__name__)

STEP_SECONDS = 0.1
LOOK_SECONDS = 0.5
START_SECONDS = 300.0  # a large model is loaded and measured before its server answers
SILENT_SECONDS = 15.0  # a server that lives and does not answer for so long is ended
STEADY_SECONDS = 10.0
BACKOFF = (0.0, 0.0, 0.5, 2.0, 5.0, 15.0, 30.0)
LOGGED = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ ")  # a line of its log that says what it did
RETRY_SECONDS = 10.0  # after what may pass: a store that is away, a full disk


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaTarget:
    """What the plane wants of a replica."""

    endpoint: str
    address: str
    port: int
    is_active: bool
    version: VersionFiles | None  # None: `why` says what is missing
    why: str = ""
    shadow: VersionFiles | None = None
    shadow_rate: float = 1.0
    sampling_rate: float = 0.0
    access: ServerAccess = field(default_factory=ServerAccess)


class ReplicaRunner(threading.Thread):
    """Starts, watches, swaps and ends one server. `folder` is private to this node's keeper."""

    def __init__(
        self, key: int, folder: Path, target: ReplicaTarget | None = None, fork_server: ForkServer | None = None
    ) -> None:
        super().__init__(name=f"replica-{key}", daemon=True)
        self.key, self.folder, self.target, self.fork_server = key, folder, target, fork_server
        self.state_file = folder / f"replica-{key}.json"
        self.socket = folder / f"replica-{key}.sock"
        self.token_file = folder / f"replica-{key}.tokens"
        self.record = read_record(self.state_file)
        if target is None:
            self.target = restore_target(self.record.get("target"))
        self.version = restore_version(self.record.get("version"))  # that answers, or did when it last ran
        self.process = ServerProcess.adopt(self.record)
        self.is_adopted = self.process is not None
        self.state: str = ReplicaState.STARTING if self.process else ReplicaState.STOPPED
        self.error = ""
        self.refused: tuple[VersionFiles, str] | None = None  # what this server does not take, and why
        self.shadow: VersionFiles | None = None  # that was started last; None: by another worker
        self.refused_shadow: tuple[VersionFiles, float] | None = None
        self.window, self.figures = FigureWindow(), dict[str, Any]()
        self.failures = 0
        self.started_at = self.answered_at = time.monotonic()
        self.start_at = self.retry_at = 0.0
        self.ended = threading.Event()
        self.stopped = threading.Event()  # it has no server and is to have none

    # -- called by the keeper ---------------------------------------------------------------------------------------
    def set_target(self, target: ReplicaTarget) -> None:
        self.target = target
        if target.is_active:
            self.stopped.clear()

    def build_report(self) -> ReplicaReport:
        process, started = self.process, self.record.get("started_at")
        return ReplicaReport(
            state=self.state,
            version_id=self.version.key if self.version and self.state == ReplicaState.SERVING else None,
            error=self.error,
            process_id=process.pid if process else None,
            started_at=datetime.fromtimestamp(started, UTC) if process and started else None,
            figures=self.figures if process else {},
        )

    def list_used_folders(self) -> set[str]:
        target = self.target
        versions = [self.version, *((target.version, target.shadow) if target else ())]
        return {version.folder_name for version in versions if version is not None}

    def ask_to_end(self) -> None:
        """End the server at once and start none: an orderly stop of the worker. May be called in a signal handler."""
        self.ended.set()
        if self.process is not None:
            self.process.send(signal.SIGTERM)

    # -- its thread -------------------------------------------------------------------------------------------------
    def run(self) -> None:
        while not self.ended.is_set():
            try:
                self.step()
                if self.process is not None:
                    self.process.wait(LOOK_SECONDS)
                else:
                    self.ended.wait(STEP_SECONDS)
            except Exception as failure:  # whatever it is: the next step tries again
                log.exception("replica %s", self.key)
                self.error = str(failure)[:500]
                self.ended.wait(1.0)

    def step(self) -> None:
        target = self.target
        if target is None:
            return
        if not target.is_active:
            self.stop_server()
        elif self.process is None:
            self.start_server(target)
        elif self.process.is_gone():
            self.note_death()
            self.start_server(target)
        else:
            self.watch(target)

    def stop_server(self) -> None:
        self.state = ReplicaState.STOPPED  # from now on it takes no requests
        if self.process is not None:
            self.process.stop()
            self.process = None
        self.error, self.figures = "", {}
        self.refused = self.refused_shadow = None
        self.failures = 0
        self.stopped.set()

    def note_death(self) -> None:
        steady = time.monotonic() - self.started_at > STEADY_SECONDS
        self.failures = 0 if steady else self.failures + 1
        self.start_at = time.monotonic() + BACKOFF[min(self.failures, len(BACKOFF) - 1)]
        log.warning("replica %s: its server has ended", self.key)
        if self.failures:
            why = self.read_last_line()
            self.error = Message("Its server ends: {why}", why=why) if why else Message("Its server ends.")
            self.state = ReplicaState.FAILED
        else:
            self.state = ReplicaState.STARTING
        self.process = None

    def start_server(self, target: ReplicaTarget) -> None:
        """Start with the version that answered last, if its files are here: the one wanted may not be servable."""
        if time.monotonic() < self.start_at:
            return
        if not (target.access.token_digests or is_loopback(target.address)):
            self.state = ReplicaState.FAILED
            self.error = Message("It would listen at {address} without a token.", address=target.address)
            return
        version = self.version
        if version is None or not (self.folder / "versions" / version.folder_name).is_dir():
            version = target.version
        if version is None:
            self.state, self.error = ReplicaState.FAILED, target.why
            return
        folder = self.stage(version)
        if folder is None:
            self.state = ReplicaState.FAILED
            return
        words = [f"{target.endpoint}:{version.number}={folder}", "--host", target.address, "--port", str(target.port)]
        words += ["--admin-socket", self.socket.name, *target.access.write(self.token_file)]
        if target.sampling_rate:
            words += ["--record", str(self.folder / f"recorded-{self.key}"), "--record-rate", str(target.sampling_rate)]
        log_path = self.folder / f"replica-{self.key}.log"
        if self.fork_server is not None:
            self.process = self.fork_server.start_server(words, log=log_path, modules=read_runtime_modules(folder))
        if self.process is None:
            self.process = ServerProcess.start(words, folder=self.folder, log=log_path)
        self.is_adopted, self.state = False, ReplicaState.STARTING
        self.started_at = self.answered_at = time.monotonic()
        self.version, self.window = version, FigureWindow()
        self.record = {
            **self.process.get_identity(),
            "started_at": time.time(),
            "sampling_rate": target.sampling_rate,
            "access": target.access.compute_fingerprint(),
        }
        self.save(target)

    def save(self, target: ReplicaTarget) -> None:
        version = asdict(self.version) if self.version else None
        self.record |= {"target": asdict(target), "version": version}
        write_record(self.state_file, self.record)

    def stage(self, version: VersionFiles) -> Path | None:
        """The folder of the version; None, and `error` says why, where it cannot be had now."""
        if time.monotonic() < self.retry_at:
            return None
        try:
            return stage_version(version, self.folder / "versions", self.check_ended)
        except (PlaneError, OSError) as failure:
            why = failure.message if isinstance(failure, PlaneError) else str(failure)
            self.error = Message("The files of version {number} cannot be had: {why}", number=version.number, why=why)
            self.retry_at = time.monotonic() + RETRY_SECONDS
            return None

    def check_ended(self) -> None:
        if self.ended.is_set():
            raise OSError("the worker stops")

    def watch(self, target: ReplicaTarget) -> None:
        """Look at a server that lives, and bring it to its target."""
        try:
            status = control.read_status(self.socket)
            [model] = status["models"]
        except (OSError, ValueError, KeyError):
            self.end_silent()
            return
        self.answered_at = time.monotonic()
        self.figures = self.window.add(model)
        if self.state != ReplicaState.SERVING:
            self.state, self.error = ReplicaState.SERVING, ""
        if self.fork_server is not None and self.version is not None:
            self.fork_server.prepare(read_runtime_modules(self.folder / "versions" / self.version.folder_name))
        if self.record.get("sampling_rate") != target.sampling_rate or self.has_moved(target):
            self.restart(target)
        else:
            self.follow_access(target)
            self.follow_version(target)
            self.follow_shadow(target, model.get("shadow"))

    def has_moved(self, target: ReplicaTarget) -> bool:
        before = self.record.get("target") or {}
        access = ServerAccess.restore(before["access"]) if "access" in before else ServerAccess()
        place = (before.get("address"), before.get("port"), access.flags)
        return place != (target.address, target.port, target.access.flags)

    def restart(self, target: ReplicaTarget) -> None:
        if self.process is not None:
            self.process.stop()
        self.process, self.start_at = None, 0.0
        self.start_server(target)

    def end_silent(self) -> None:
        """A server that does not answer is loading, or hangs."""
        limit = SILENT_SECONDS if self.state == ReplicaState.SERVING or self.is_adopted else START_SECONDS
        if time.monotonic() - self.answered_at > limit and self.process is not None:
            log.warning("replica %s: its server does not answer and is ended", self.key)
            self.process.send(signal.SIGKILL)

    def follow_access(self, target: ReplicaTarget) -> None:
        """Let the server take another token, or a certificate that was renewed. One at fault leaves the old one."""
        fingerprint = target.access.compute_fingerprint()
        if self.record.get("access", fingerprint) == fingerprint:
            return
        target.access.write(self.token_file)
        try:
            control.read_access_again(self.socket)
        except control.ControlRefused as failure:
            log.warning("replica %s: %s", self.key, failure)
        except OSError:
            return  # it has died: the next step sees it
        self.record["access"] = fingerprint
        self.save(target)

    def follow_version(self, target: ReplicaTarget) -> None:
        candidate = target.version
        if candidate is None:
            self.error = target.why
            return
        if candidate == self.version:  # another variant of a version has other files
            self.refused, self.error = None, ""
            return
        if self.refused is not None and self.refused[0] == candidate:
            self.error = self.refused[1]  # it stays refused until the alias moves again
            return
        folder = self.stage(candidate)
        if folder is None:
            return
        try:
            control.swap(self.socket, target.endpoint, folder, candidate.number)
        except control.ControlRefused as failure:
            why = Message("Version {number} was refused: {why}", number=candidate.number, why=str(failure))
            self.refused, self.error = (candidate, why), why
        except OSError:
            return  # it has died: the next step sees it
        else:
            self.version, self.refused, self.error = candidate, None, ""
            self.save(target)

    def follow_shadow(self, target: ReplicaTarget, current: dict[str, Any] | None) -> None:
        candidate = target.shadow
        if candidate is None:
            if current is not None:
                control.stop_shadow(self.socket, target.endpoint)
            self.refused_shadow = None
            return
        key = (candidate, target.shadow_rate)
        is_current = current is not None and (current["version"], current["rate"]) == (
            str(candidate.number),
            target.shadow_rate,
        )
        if is_current and self.shadow in (None, candidate):
            return
        if self.refused_shadow == key:
            return
        folder = self.stage(candidate)
        if folder is None:
            return
        try:
            control.start_shadow(self.socket, target.endpoint, folder, candidate.number, target.shadow_rate)
            self.shadow = candidate
        except control.ControlRefused as failure:
            self.refused_shadow = key
            self.figures["shadow"] = None
            log.warning("replica %s: the shadow was refused: %s", self.key, failure)
        except OSError:
            return

    def read_last_line(self) -> str:
        """Why its server has ended, for people: the last line of its log; nothing where it was killed."""
        try:
            with (self.folder / f"replica-{self.key}.log").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 2000))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        starts = [place for place, line in enumerate(lines) if line.startswith("deepseek: serving")]
        lines = lines[starts[-1] + 1 :] if starts else lines  # what stands before is of another time
        lines = [line for line in lines if not (LOGGED.match(line) or line.startswith("deepseek: stopp"))]
        texts = [line for line in lines if line.startswith("deepseek: ")] or lines
        return texts[-1][:300] if texts else ""


@lru_cache(maxsize=64)
def read_runtime_modules(folder: Path) -> tuple[str, ...]:
    """What runs the version in `folder`; nothing for a broken one, of which its server says what is wrong."""
    try:
        return list_runtime_modules(ModelManifest.read(folder / MANIFEST_NAME))
    except EngineError:
        return ()


def restore_version(fields: Any) -> VersionFiles | None:
    """A version out of a state file; None for anything else."""
    try:
        files = tuple((str(name), str(digest)) for name, digest in fields["files"])
        return VersionFiles(int(fields["key"]), int(fields["number"]), files)
    except (TypeError, KeyError, ValueError):
        return None


def restore_target(fields: Any) -> ReplicaTarget | None:
    """A target out of a state file; None for anything else."""
    try:
        versions = {name: restore_version(fields[name]) for name in ("version", "shadow")}
        access = ServerAccess.restore(fields["access"]) if "access" in fields else ServerAccess()
        return ReplicaTarget(**{**fields, **versions, "access": access})
    except (TypeError, KeyError, AttributeError):
        return None
