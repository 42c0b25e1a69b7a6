"""A fit on one host: the calling process starts the servers and workers, and replaces those that are killed.

The parent itself uses no network, so that it can fork at any time; the initial and the final parameters pass through
the shards' checkpoints in a private folder.
"""

import ctypes
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch

from deepseek.distributed.certificates import ServerCertificate, build_certificate
from deepseek.distributed.checkpoint import (
    ShardCheckpoint,
    ShardProgress,
    get_checkpoint_path,
    read_checkpoint,
    write_checkpoint,
    write_file,
)
from deepseek.distributed.directory import FolderDirectory
from deepseek.distributed.errors import ArgumentError, FitError
from deepseek.distributed.flight_server import STATE_NAME, ShardServer, build_token, read_state
from deepseek.distributed.layout import ParameterLayout
from deepseek.distributed.options import FitOptions, ServerOptions
from deepseek.distributed.report import EpochNotifier, FitReport, OnEpoch, compute_mean_losses
from deepseek.distributed.worker import Task, Worker, build_layout

PR_SET_PDEATHSIG = 1
MAX_MESSAGE_BYTES = 1 << 20
MAX_TRACE_CHARACTERS = 20_000
_TICK_SECONDS = 0.2
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class LocalFit:
    """What every process of the fit is handed when it starts. Holds the token: never logged."""

    task: Task
    server: ServerOptions
    options: FitOptions
    folder: Path
    token: str = field(repr=False)
    certificate: ServerCertificate | None = field(repr=False)


@dataclass
class _Child:
    role: str  # server or worker
    number: int
    process: Any
    pipe: Connection
    session: str
    done: bool = False
    error: str = ""


class LocalGang:
    """Starts, watches and ends the processes of one fit."""

    def __init__(self, fit: LocalFit, start_method: str, notifier: EpochNotifier) -> None:
        self._notifier = notifier
        self._fit, self._context = fit, multiprocessing.get_context(start_method)
        self._children: list[_Child] = []
        self.restarts = {"server": 0, "worker": 0}
        self.events: list[str] = []

    def run(self) -> None:
        """Return when every worker has finished and every server has written its last checkpoint."""
        try:
            for number in range(self._fit.server.server_num):
                self._start("server", number)
            for number in range(self._fit.server.worker_num):
                self._start("worker", number)
            while not all(child.done for child in self._children if child.role == "worker"):
                self._watch()
            self._stop_servers()
        finally:
            for child in self._children:
                if child.process.is_alive():
                    child.process.kill()
                child.process.join()
                child.pipe.close()

    def _start(self, role: str, number: int) -> None:
        ours, theirs = self._context.Pipe()
        session = secrets.token_hex(8)
        target = run_server if role == "server" else run_worker
        process = self._context.Process(  # type: ignore[attr-defined]
            target=target, args=(self._fit, number, theirs, session), name=f"parameter-{role}-{number}"
        )
        process.start()
        theirs.close()
        self._children.append(_Child(role, number, process, ours, session))

    def _watch(self) -> None:
        """Wait for something to happen, and deal with it."""
        running = [child for child in self._children if not child.done]
        wait([*(child.process.sentinel for child in running), *(child.pipe for child in running)], timeout=5)
        for child in running:
            self._read_messages(child)
            if child.error:
                raise FitError(f"{child.role.capitalize()} {child.number} failed.\n{child.error}")
            if not child.done and not child.process.is_alive():
                self._read_messages(child)
                if child.error or child.done:
                    continue  # comes round again
                self._replace(child)

    def _read_messages(self, child: _Child) -> None:
        with suppress(EOFError, OSError):
            while child.pipe.poll():
                message = json.loads(child.pipe.recv_bytes(MAX_MESSAGE_BYTES))
                if "losses" in message and self._notifier.notify(message["losses"]):
                    self._send_to_servers({"end": True})
                if "silent" in message:
                    self._kill_worker(message["silent"])
                child.done = child.done or bool(message.get("done"))
                child.error = child.error or str(message.get("error", ""))

    def _kill_worker(self, session: str) -> None:
        """End a worker that a server has dropped because it is silent; it is then replaced like any killed one."""
        for child in self._children:
            if child.session == session and not child.done:
                child.process.kill()

    def _replace(self, child: _Child) -> None:
        child.process.join()
        code = child.process.exitcode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self.events.append(f"{child.role} {child.number} ended with {how} and was started again")
        if sum(self.restarts.values()) >= self._fit.options.max_restarts:
            raise FitError(
                f"{child.role.capitalize()} {child.number} ended with {how}, and max_restarts="
                f"{self._fit.options.max_restarts} processes have been replaced already. "
                "Look for a lack of memory, or raise max_restarts."
            )
        self._children.remove(child)
        child.pipe.close()
        self.restarts[child.role] += 1
        self._start(child.role, child.number)

    def _send_to_servers(self, message: dict[str, Any]) -> None:
        for child in self._children:
            if child.role == "server":
                _send(child.pipe, message)

    def _stop_servers(self) -> None:
        self._send_to_servers({"stop": True})
        until = time.monotonic() + _STOP_SECONDS
        while any(child.role == "server" and not child.done for child in self._children):
            if time.monotonic() > until:
                raise FitError(f"The servers did not write their last checkpoints within {_STOP_SECONDS:g} s.")
            for child in [child for child in self._children if child.role == "server" and not child.done]:
                child.pipe.poll(_TICK_SECONDS)
                self._read_messages(child)
                if not child.done and not child.process.is_alive():
                    self._read_messages(child)
                    child.done = True  # killed at the end: its checkpoint of the last departure is whole


def run_local(
    task: Task,
    server: ServerOptions,
    options: FitOptions,
    *,
    checkpoint_dir: Path | None,
    start_method: str | None,
    on_epoch: OnEpoch | None,
) -> tuple[torch.nn.Module, FitReport]:
    """Train with processes of this host; returns the module and the report."""
    began = time.monotonic()
    _refuse_start_in_child()
    method = _choose_start_method(task, options, start_method)
    layout = build_layout(task, server.server_num)
    if checkpoint_dir is not None:
        checkpoint_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="parameter-server-", dir=checkpoint_dir))  # mode 0700
    try:
        _write_initial_state(folder, layout)
        certificate = build_certificate() if server.tls else None
        fit = LocalFit(task, server, options, folder, build_token(), certificate)
        notifier = EpochNotifier(on_epoch)
        gang = LocalGang(fit, method, notifier)
        gang.run()
        report = _read_result(folder, layout, fit, gang, time.monotonic() - began)
        notifier.notify(report.losses)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return layout.module, report


def _write_initial_state(folder: Path, layout: ParameterLayout) -> None:
    values = layout.copy_values()
    for index, shard in enumerate(layout.shards):
        checkpoint = ShardCheckpoint(values[shard].clone(), {}, ShardProgress(layout.digest))
        write_checkpoint(get_checkpoint_path(folder, index), checkpoint)
    write_file(folder / STATE_NAME, layout.dump_state())


def _read_result(folder: Path, layout: ParameterLayout, fit: LocalFit, gang: LocalGang, seconds: float) -> FitReport:
    shards = [read_checkpoint(get_checkpoint_path(folder, index)) for index in range(len(layout.shards))]
    layout.load_values(torch.cat([shard.parameters for shard in shards]))
    layout.load_state(read_state(folder, 0))
    return build_report(
        fit.server,
        fit.options,
        layout.size,
        vars(shards[0].progress),
        seconds=seconds,
        tls=fit.certificate is not None,
        restarts=gang.restarts,
        events=gang.events,
    )


def build_report(
    server: ServerOptions,
    options: FitOptions,
    parameters: int,
    progress: dict[str, Any],
    *,
    seconds: float,
    tls: bool,
    restarts: dict[str, int],
    events: list[str],
) -> FitReport:
    """The report of a fit from what its first shard recorded."""
    return FitReport(
        mode=options.mode,
        optimizer=options.optimizer,
        workers=server.worker_num,
        servers=server.server_num,
        epochs=options.epochs,
        parameters=parameters,
        steps=progress["steps"],
        losses=compute_mean_losses(progress["losses"]),
        max_lead=progress["max_lead"],
        seconds=seconds,
        tls=tls,
        worker_restarts=restarts["worker"],
        server_restarts=restarts["server"],
        events=[*progress["events"], *events],
    )


def _refuse_start_in_child() -> None:
    """A spawned process imports the caller's script again; without a guard that would start another fit."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise FitError(
            "fit was called while a new process imports the script. Put the call under if __name__ == '__main__', "
            "or use start_method='fork'."
        )


def _choose_start_method(task: Task, options: FitOptions, start_method: str | None) -> str:
    """fork, which needs no guard in the script and takes lambdas, unless a GPU or threads forbid it."""
    if start_method is None:
        start_method = "spawn" if _has_cuda_started() or options.threads > 1 else "fork"
    if start_method == "fork" and options.threads > 1:
        raise ArgumentError(
            "threads", options.threads, "1 with start_method='fork'", "Use start_method='spawn' for more threads."
        )
    if start_method == "spawn":
        for name in ("build_model", "build_batches", "loss"):
            _validate_sendable(name, getattr(task, name))
    return start_method


def _has_cuda_started() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _validate_sendable(name: str, function: object) -> None:
    try:
        ForkingPickler.dumps(function)
    except Exception as error:  # whatever a caller's object raises
        raise ArgumentError(
            name,
            function,
            "a function that a new process can import",
            f"Define it at the top level of a module, or use start_method='fork'. ({error})",
        ) from error


# In the children


def run_server(fit: LocalFit, index: int, pipe: Connection, session: str) -> None:
    """Serve one shard until the parent says stop."""
    _prepare_process()
    try:
        server = ShardServer(fit.folder, index, fit.server, fit.options, token=fit.token, certificate=fit.certificate)
        FolderDirectory(fit.folder).publish(index, server.address)
        shard = server.shard
        if shard is None:
            raise FitError("The shard has no initial checkpoint.")
        sent = 0
        while True:
            if pipe.poll(min(_TICK_SECONDS, fit.server.heartbeat_interval)):
                if not _is_asked_to_end(pipe):
                    break
                shard.end()
            shard.drop_silent()
            if index == 0 and (ended := len(shard.progress.losses) - 1) > sent:
                sent = ended
                _send(pipe, {"losses": shard.get_losses()[:ended]})
            while shard.silent_sessions:
                _send(pipe, {"silent": shard.silent_sessions.pop()})
        shard.stop()
    except Exception:  # noqa: BLE001  told to the parent
        _exit_with_error(pipe)
    _exit_with(pipe, {"done": True})


def _is_asked_to_end(pipe: Connection) -> bool:
    """Whether the parent's message is to end the fit early; else it is to stop serving, or the parent is gone."""
    try:
        return "end" in json.loads(pipe.recv_bytes(MAX_MESSAGE_BYTES))
    except (EOFError, OSError):
        return False


def run_worker(fit: LocalFit, rank: int, pipe: Connection, session: str) -> None:
    """Train as one rank."""
    _prepare_process()
    torch.set_num_threads(fit.options.threads)
    try:
        layout = build_layout(fit.task, fit.server.server_num)
        directory = FolderDirectory(fit.folder)
        Worker(fit.task, rank, session, fit.server, fit.options, directory, fit.token, layout).train()
    except Exception:  # noqa: BLE001  told to the parent
        _exit_with_error(pipe)
    _exit_with(pipe, {"done": True})


def _prepare_process() -> None:
    """End with the parent, leave Ctrl-C to it, and forget its handlers."""
    parent = multiprocessing.parent_process()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is None or os.getppid() != parent.pid:
        os._exit(1)  # it died in between
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def _exit_with_error(pipe: Connection) -> None:
    error = sys.exception()
    text = str(error) if isinstance(error, FitError | ArgumentError) else traceback.format_exc()
    _exit_with(pipe, {"error": text[-MAX_TRACE_CHARACTERS:]}, code=1)


def _exit_with(pipe: Connection, message: dict[str, Any], *, code: int = 0) -> None:
    """Send the last message and end at once: a server's threads may still be at work."""
    _send(pipe, message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    with suppress(OSError):
        pipe.send_bytes(json.dumps(message).encode())
