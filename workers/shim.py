"""The small process between a worker and the engine: whatever happens to either, nothing is left running.

Started as `python -I shim.py EVENTS_FD LIFELINE_FD GRACE` in a session of its own, with an environment built from
nothing and the request as JSON on stdin. Standard library only; the engine is imported in the forked child.

- Memory: the tree is looked at every 50 ms, and ended when it takes more than `memory_bytes` of the request; a cgroup
  (`group` of the request) bounds it besides, where the worker could make one.

- Subreaper: descendants that called setsid come back to it when orphaned.
- The lifeline is a pipe whose write end only the worker's thread holds. End of file means that the job was
  cancelled, or that the worker died by any cause: TERM to all descendants, a grace, then KILL.
- It holds `locks` of the request, the place of the attempt (workers/attempt_slots.py), until nothing of it is left.
- If the shim itself is killed, the engine dies by its parent-death signal, and the worker sweeps for the rest by
  the marker in the environment (workers/process.py).
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent  # of the packages, which `-I` leaves out of the search path
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from deepseek.messages import Message, record_messages  # noqa: E402
from workers import memory_watch  # noqa: E402

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STOPPED = 75  # exit code after the lifeline ended: neither success nor a fault of the engine
MEMORY_LIMIT = 76  # exit code after the tree was ended because it took more memory than the job asked for


def prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def list_descendants() -> list[int]:
    """Every living process below this one, by the parents that /proc shows."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(name))
    pids, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        pids += below
        queue += below
    return pids


def send_signal(number: int) -> list[int]:
    alive = list_descendants()
    for pid in alive:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return alive


class Engine:
    """The forked child and its exit status; orphans are reaped on the way."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self.usage: dict | None = None

    def reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status
                self.usage = {
                    "peak_memory_bytes": used.ru_maxrss * 1024,  # of the largest process, its own children included
                    "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
                }

    def stop_all(self, grace: float) -> None:
        """TERM to all descendants, KILL to what is left after `grace` seconds, until none is left."""
        deadline = time.monotonic() + grace
        send_signal(signal.SIGTERM)
        while list_descendants() and time.monotonic() < deadline:
            time.sleep(0.02)
            self.reap()
        while send_signal(signal.SIGKILL):
            time.sleep(0.02)
            self.reap()
        self.reap()

    def get_exit_code(self) -> int:
        """The child's exit code, or 128 + the signal that ended it, as shells do."""
        if self.status is None:
            return 128 + signal.SIGKILL
        return 128 + os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else os.WEXITSTATUS(self.status)


def start_engine(request: dict, events: int, lifeline: int) -> Engine:
    """Fork. Nothing heavy is imported yet, and there is one thread, so the child starts clean."""
    way_out = None
    if request.get("connect"):
        from workers.connector import start_connector

        with stop_unless_isolated(events):
            way_out = start_connector(request, lifeline=lifeline, close=(events, *request.get("locks", ())))
    link = (request.get("sandbox") or {}).get("link")
    pipes = [*os.pipe(), *os.pipe()] if link else []
    if link:
        link["descriptors"] = [pipes[1], pipes[2]]
    shim = os.getpid()
    pid = os.fork()
    if pid:
        if way_out is not None:
            way_out.close()
        if link:
            connect_peers(link, pid, pipes)
        return Engine(pid)
    code = 2
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != shim:  # the shim died before the signal was set
            os._exit(code)
        os.close(lifeline)
        for descriptor in pipes[:1] + pipes[3:] + request.get("locks", []):
            os.close(descriptor)
        with suppress(OSError):  # a container may forbid it
            Path("/proc/self/oom_score_adj").write_text("500")  # when memory runs out, the job goes before the worker
        if request.get("group"):
            try:
                memory_watch.join_group(Path(request["group"]))
            except OSError as failure:
                sys.stdout.write(f"The cgroup cannot be joined ({failure.strerror}): memory is only watched.\n")
        if way_out is not None:
            os.environ["ENGINE_CONNECTOR"] = str(way_out.fileno())
        if request.get("sandbox"):
            lock_in(request["sandbox"], events)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has taken it back
            # In a process namespace the parent is its first process, with which everything in it ends.
            if not request["sandbox"].get("own_processes") and os.getppid() != shim:
                os._exit(code)
        from workers.child import run_engine

        code = run_engine(request, events)
    except BaseException:  # noqa: BLE001 - what child.py could not tell, its own import for instance: the log does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError("unreachable")


def connect_peers(link: dict, pid: int, pipes: list[int]) -> None:
    """Make the link as soon as the engine's process has its network namespace, and let it go on; it ends otherwise."""
    make_link = get_link_module(link).make_link
    ready, started, go_on, go = pipes
    os.close(started)
    os.close(go_on)
    try:
        if os.read(ready, 1):
            make_link(link, pid)
            os.write(go, b"1")
    except (OSError, ValueError) as failure:
        sys.stdout.write(f"The link to the peers cannot be made: {failure}\n")
        sys.stdout.flush()
    finally:
        os.close(ready)
        os.close(go)


def get_link_module(link: dict) -> ModuleType:
    """What makes links of this type."""
    from workers import veth_link
    from workers.gangs import link as gang_link

    return gang_link if link.get("type") == "gang" else veth_link


def disconnect_peers(request: dict) -> None:
    link = (request.get("sandbox") or {}).get("link")
    if link:
        with suppress(OSError):
            get_link_module(link).remove_link(link)


def lock_in(plan: dict, events: int) -> None:
    """Enter the sandbox, or say why not and end: the engine never runs outside of one that was promised."""
    from workers.sandbox import enter

    launch = None
    if plan.get("image"):
        from workers.images.root import start_launcher as launch
    with stop_unless_isolated(events):
        enter(plan, launch=launch)


@contextmanager
def stop_unless_isolated(events: int) -> Iterator[None]:
    """Report `sandbox_failed` and end this process if the block raises CannotIsolate."""
    from workers.sandbox import CannotIsolate

    try:
        yield
    except CannotIsolate as failure:
        event = {
            "event": "crash",
            "code": "sandbox_failed",
            "message": Message("No sandbox could be made: {failure}.", failure=failure),
        }
        os.write(events, f"{json.dumps(record_messages(event))}\n".encode())
        os._exit(2)


def main() -> int:
    events, lifeline, grace = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a terminal's or an init system's TERM is the worker's to handle
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.load(sys.stdin)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    group = Path(request["group"]) if request.get("group") else None
    memory = memory_watch.TreeMemory(request.get("memory_bytes") or 0, list_processes=list_descendants, group=group)
    began = time.monotonic()
    engine = start_engine(request, events, lifeline)
    ended = wait_for_end(engine, lifeline, memory)
    if ended == MEMORY_LIMIT:
        memory_watch.kill_group(group)
        engine.stop_all(0.0)
    elif ended == STOPPED:
        engine.stop_all(grace)
    else:
        is_exceeded = memory.is_exceeded_by_files()
        engine.stop_all(min(grace, 1.0) if list_descendants() else 0.0)
        if engine.status and (memory.is_ended_by_kernel() or is_exceeded):
            ended = MEMORY_LIMIT
    disconnect_peers(request)
    report_usage(engine, memory, events, time.monotonic() - began)
    return ended or engine.get_exit_code()


def wait_for_end(engine: Engine, lifeline: int, memory: memory_watch.TreeMemory) -> int:
    """Watch the tree until something ends it: 0 the engine itself, STOPPED the worker, MEMORY_LIMIT its memory."""
    child = os.pidfd_open(engine.pid)
    while True:
        ready, _, _ = select.select([lifeline, child], [], [], memory.compute_pause())
        engine.reap()
        if child in ready or engine.status is not None:
            return 0
        if lifeline in ready:  # nothing is ever written: readable means end of file
            return STOPPED
        if memory.is_exceeded():
            return MEMORY_LIMIT


def report_usage(engine: Engine, memory: memory_watch.TreeMemory, events: int, seconds: float) -> None:
    """The last event of an attempt: what it used. Never waited for: the worker may have stopped reading.

    It begins a line of its own, for a killed engine may have left half of one.
    """
    if engine.usage is not None:
        os.set_blocking(events, False)
        used = engine.usage | ({"peak_memory_bytes": memory.peak} if memory.peak else {})
        line = json.dumps({"event": "usage", **used, "seconds": round(seconds, 3)})
        with suppress(OSError):
            os.write(events, f"\n{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
