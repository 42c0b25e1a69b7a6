"""Starting, watching and ending the process of one attempt: the shim, its pipes, its marker."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from workers.scratch.wiping import remove_scratch

if TYPE_CHECKING:  # gunicorn's arbiter imports this module, and has no Django
    from apps.platform.jobs.models import Job

log = logging.getLogger(__name__)

SHIM = Path(__file__).with_name("shim.py")
MARKER = "PLANE_JOB"
SWEEP_SECONDS = 10.0  # a process that no KILL ends (a driver that hangs) must not hold its thread for ever


def read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@cache
def get_realm() -> str:
    """Names this kernel and these namespaces: within one realm a pid and its start time mean the same process."""
    namespaces = [
        os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "time") if Path("/proc/self/ns", kind).exists()
    ]
    return hashlib.sha256(" ".join([read_boot_id(), *namespaces]).encode()).hexdigest()[:12]


def name_owner(node: str) -> str:
    """The name under which this process owns jobs: never used again, and `is_abandoned` can find the process by it."""
    return f"{node}:{get_realm()}:{os.getpid()}:{start_time(os.getpid())}:{secrets.token_hex(4)}"[-80:]


def is_abandoned(job: Job) -> bool:
    """Whether the worker and the shim of a running job are both gone; False where that cannot be seen from here.

    A shim outlives its worker by its grace at most. Until it is gone too, another attempt would run beside it.
    """
    parts = job.owner.rsplit(":", 4)
    if len(parts) != 5 or parts[1] != get_realm() or not (parts[2].isdigit() and parts[3].isdigit()):
        return False
    shim = job.process or {}
    pid, began = shim.get("pid"), shim.get("start_time")
    shim_is_gone = not (isinstance(pid, int) and isinstance(began, int)) or is_process_gone(pid, began)
    return shim_is_gone and is_process_gone(int(parts[2]), int(parts[3]))


def is_process_gone(pid: int, began: int) -> bool:
    """Whether the process has ended. A signal probes it too: /proc may hide it (hidepid, ProtectProc)."""
    if pid <= 0:
        return False
    state, started = read_stat(pid)  # before the signal: what is reaped in between is gone, not hidden
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return state == "Z" or (started > 0 and began > 0 and started != began)


def read_stat(pid: int) -> tuple[str, int]:
    """State and start time of a process; ("", 0) where it is gone or hidden."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return "", 0
    return fields[0].decode(), int(fields[19])


def is_ending(pid: int) -> bool:
    """Whether the process has ended, or was killed and has not run since to end. False where /proc hides it.

    A SIGKILL is pending for each thread until that thread runs, which takes long on a busy machine.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    pending = int(fields.get("SigPnd", "0"), 16) | int(fields.get("ShdPnd", "0"), 16)
    return fields.get("State", "")[:1] in ("Z", "X") or bool(pending >> (signal.SIGKILL - 1) & 1)


def build_marker(job_id: int, attempt: int) -> str:
    """What the environment of every process of an attempt says: job, attempt, and which worker started it."""
    return f"{job_id}:{attempt}:{os.getpid()}:{start_time(os.getpid())}"


def start_time(pid: int) -> int:
    """Clock ticks since boot at which the process began: with the pid it names a process for ever. 0: it is gone."""
    return read_stat(pid)[1]


class EngineProcess:
    """One running attempt: the shim as a child of this worker, and this side of its three pipes."""

    def __init__(
        self,
        request: Mapping[str, Any],
        *,
        scratch: Path,
        mark: str,
        cpus: float,
        devices: list[int],
        grace: float,
        settings: Mapping[str, str] | None = None,
        group: Path | None = None,
        lock: int | None = None,
        descriptors: tuple[int, ...] = (),
    ) -> None:
        """`group`: the cgroup of the attempt (workers/cgroups.py), which the engine's process joins.

        `lock`: the descriptor of its place (workers/attempt_slots.py), which the shim holds until it ends.
        `descriptors`: others that the engine inherits under their numbers.
        """
        events_read, events_write = os.pipe()
        try:
            lifeline_read, lifeline_write = os.pipe()
        except OSError:  # no descriptors left
            os.close(events_read)
            os.close(events_write)
            raise
        self.events, self._lifeline, self.mark = events_read, lifeline_write, mark
        locks = [] if lock is None else [lock]
        try:
            self.shim = subprocess.Popen(
                [sys.executable, "-I", str(SHIM), str(events_write), str(lifeline_read), str(grace)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(events_write, lifeline_read, *locks, *descriptors),
                cwd=scratch,
                env={**(settings or {}), **clean_environment(scratch, mark, cpus, devices)},
                start_new_session=True,
            )
        except BaseException:
            os.close(events_read)
            os.close(lifeline_write)
            raise
        finally:
            os.close(events_write)
            os.close(lifeline_read)
        stdin, stdout = self.shim.stdin, self.shim.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the shim was started without pipes")
        self.prints = stdout.fileno()
        with suppress(BrokenPipeError), stdin:  # it died at once: its exit code says so
            sent = {**request, "group": str(group) if group else None, "locks": locks}
            stdin.write(json.dumps(sent).encode())

    def get_identity(self) -> dict[str, Any]:
        pid = self.shim.pid
        return {"host": os.uname().nodename, "boot_id": read_boot_id(), "pid": pid, "start_time": start_time(pid)}

    def let_go(self) -> None:
        """Close the lifeline: the shim ends everything below it and exits. Harmless when called again."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def close(self, grace: float) -> int:
        """Make sure that nothing of the attempt is left; returns the shim's exit code (negative: a signal)."""
        self.let_go()
        try:
            self.shim.wait(timeout=grace + 5)
        except subprocess.TimeoutExpired:
            self.shim.kill()
            self.shim.wait()
        if self.shim.returncode < 0:
            stop_marked(self.mark)
        os.close(self.events)
        if self.shim.stdout:
            self.shim.stdout.close()
        return self.shim.returncode


def clean_environment(scratch: Path, mark: str, cpus: float, devices: list[int]) -> dict[str, str]:
    """Built from nothing: no secret of the worker, no proxy, no telemetry switch gets through.

    Everything that a library caches or compiles goes to the scratch folder, and with it. PATH is where a C++ compiler
    is looked for. The threads are what the libraries begin with; a spec that has a number sets its own.
    """
    threads = str(max(1, int(cpus)))
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LOGNAME": "engine",  # torch asks for it, and a container's user may have no name
        MARKER: mark,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "TVM_NUM_THREADS": threads,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices)),
        "HF_HUB_OFFLINE": "1",
        # Libraries that a script imports would send events to their makers.
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        **{name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ},
    }


def kill_by_marker(mark: str) -> int:
    """KILL every process whose environment bears `mark`; returns how many: for when the shim itself was killed."""
    return _kill(lambda value: value == mark)


def stop_marked(mark: str) -> None:
    """Repeat until a scan finds no process, since one may fork between two scans."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while kill_by_marker(mark):
        if time.monotonic() > deadline:
            log.error("%s: a process of this attempt does not end by KILL; it is left", mark)
            return
        time.sleep(0.02)


def is_of_dead_worker(mark: str) -> bool:
    """Whether the worker that made this marker is gone: its pid is free, or another process has it now."""
    parts = mark.split(":")
    return len(parts) == 4 and all(map(str.isdigit, parts)) and start_time(int(parts[2])) != int(parts[3])


def kill_orphans() -> int:
    """KILL what attempts of dead workers left on this machine: for the start of a worker."""
    return _kill(is_of_dead_worker)


def remove_stale_scratch(root: Path, *, prefix: str = "", overwrite: bool = False) -> None:
    """Remove the folders of dead workers' attempts; one that is just stopping still needs its own. `prefix`: of the
    names of this node's folders, where others have theirs beside them.
    """
    try:
        names = os.listdir(root)
    except OSError as error:  # it is not there yet, or its file system is away
        if not isinstance(error, FileNotFoundError):
            log.warning("%s: what dead workers left there stays: %s", root, error.strerror)
        return
    for name in names:
        if name.startswith(prefix) and is_of_dead_worker(name.removeprefix(prefix).replace("-", ":")):
            remove_scratch(root / name, overwrite=overwrite)


def _kill(matches: Any) -> int:
    killed = 0
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARKER, "")
            if mark and process.pid != os.getpid() and matches(mark):
                process.send_signal(signal.SIGKILL)
                killed += 1
        except (psutil.Error, OSError, ValueError):
            continue
    return killed
