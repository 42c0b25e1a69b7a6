"""The process that puts rules in force and watches the plane: it confirms them, or takes them back.

It is detached from the command that starts it, so a closed terminal or a killed command changes nothing. Where nftables
is there, the kernel ends the refusals by itself should this process be killed too.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from deepseek.isolation.backends import Backend, find_backend
from deepseek.isolation.hosts import can_connect
from deepseek.isolation.rules import Allowance
from deepseek.isolation.state import State, StateFolder
from deepseek.job import EngineError

CHECK_SECONDS = 2.0  # between two looks at the plane
MAX_FAILURES = 2  # in a row: the plane is lost
LOOK_SECONDS = 0.2
ARMED_EXTRA_SECONDS = 30  # the kernel's timer goes off so long after this process should have decided


def watch_rules(folder: StateFolder, backend: Backend, *, is_reachable: Callable[[], bool]) -> State:
    """Apply the pending state, watch the plane for its time, and confirm or revert. Returns the outcome."""
    state = folder.read() or {}
    allowances = [Allowance(**{**row, "ports": tuple(row["ports"])}) for row in state["allowances"]]
    options = {"forwarded": bool(state["policy"]["forwarded"])}
    seconds = int(state["watch_seconds"])
    try:
        backend.apply(allowances, armed_seconds=seconds + ARMED_EXTRA_SECONDS, **options)
    except EngineError as error:
        backend.restore(state["before"])  # of two tables one may have been replaced
        folder.write(state["earlier"])
        return build_outcome("failed", error.message)
    reason = wait_for_loss(folder, seconds, is_reachable)
    if reason:
        backend.restore(state["before"])
        folder.write(state["earlier"])
        return build_outcome("reverted", reason)
    backend.apply(allowances, **options)
    folder.write({**state, "confirmed_at": format_now()})
    return build_outcome("confirmed", "")


def wait_for_loss(folder: StateFolder, seconds: float, is_reachable: Callable[[], bool]) -> str:
    """Why the rules have to go, or "" when the time has passed and the plane answers."""
    deadline = time.monotonic() + seconds
    failures, next_check = 0, 0.0
    while True:
        if folder.request.exists():
            return "requested"
        now = time.monotonic()
        if now >= next_check or now >= deadline:
            failures = 0 if is_reachable() else failures + 1
            next_check = time.monotonic() + CHECK_SECONDS / (4 if failures else 1)
            if failures >= MAX_FAILURES:
                return "plane_lost"
            if now >= deadline and not failures:
                return ""
        time.sleep(LOOK_SECONDS)


def build_outcome(result: str, reason: str) -> State:
    return {"result": result, "reason": reason, "at": format_now()}


def format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main(folder_name: str) -> int:
    """The detached process: it outlives the terminal and the command, whose lock it has inherited."""
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    folder = StateFolder(Path(folder_name))
    state = folder.read() or {}
    plane = state["plane"]
    outcome = watch_rules(
        folder,
        find_backend(),
        is_reachable=lambda: any(can_connect(address, plane["port"]) for address in plane["addresses"]),
    )
    folder.request.unlink(missing_ok=True)
    folder.write_outcome(outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
