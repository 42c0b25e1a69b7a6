"""A process that has loaded what servers need and forks each of them: a killed server is back in part of a second.

Loading PyTorch and the web packages takes seconds, several on a busy machine; a fork takes milliseconds, and servers
share the memory of what was loaded. One runs on each node that serves. It has one thread, so that a fork leaves no
lock taken. It ends with its worker, by the end of its stdin; the servers go on. Standard library only until it loads.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

SERVE = ("cli", "serve.command", "serve.access", "serve.admin", "serve.app", "serve.recorder", "serve.server")
MODULES = tuple(f"deepseek.{name}" for name in (*SERVE, "serve.loading", "serve.swapping"))


def main() -> int:
    """Answer each line of stdin with a line; returns in the server, and at the end of stdin.

    {"modules": [...]} loads them; with "words", "log" and "folder" it also forks a server, and the answer has its
    {"pid": ..., "start_time": ...}.
    """
    signal.signal(signal.SIGCHLD, reap)
    load_modules(MODULES)
    while line := sys.stdin.readline():
        request = json.loads(line)
        load_modules(request["modules"])
        answer: dict[str, Any] = {"threads": len(os.listdir("/proc/self/task"))}
        if "words" in request and answer["threads"] == 1:
            gc.freeze()  # the collector of a server does not write to the pages it shares
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            pid = os.fork()
            if pid == 0:
                return become_server(request)
            answer |= {"pid": pid, "start_time": read_start_time(pid)}  # its status is not taken yet
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


def load_modules(names: Sequence[str]) -> None:
    """Import what can be imported: of the rest the server says what is missing."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def reap(*_: object) -> None:
    """Take the status of servers that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def read_start_time(pid: int) -> int:
    """In clock ticks since boot (proc(5)); as workers.process has it, which needs packages of the plane."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def become_server(request: dict[str, Any]) -> int:
    """`deepseek serve` in a session of its own, with its log; returns its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    os.setsid()
    output = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, output, output)):
        os.dup2(descriptor, number)
    os.chdir(request["folder"])
    from deepseek.cli import main as run_command

    sys.argv = ["deepseek", "serve", *request["words"]]
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
