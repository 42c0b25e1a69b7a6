"""Put a policy in force on this machine, and take it back. Refuses, before anything changes, what would cut it off."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from deepseek.isolation.backends import Backend, find_backend
from deepseek.isolation.guard import build_outcome, format_now
from deepseek.isolation.hosts import PlaneAddress, can_connect, look_up_all
from deepseek.isolation.rules import Allowance, build_allowances, is_let_through
from deepseek.isolation.spec import Policy, build_digest
from deepseek.isolation.state import State, StateFolder
from deepseek.job import EngineError
from deepseek.messages import N_

WATCH_SECONDS = 60
GRACE_SECONDS = 60.0  # that a watching process gets beyond its time before it is taken for dead
LOOK_SECONDS = 0.2


def apply_policy(
    policy: Policy, plane: PlaneAddress, folder: StateFolder, *, watch_seconds: int = WATCH_SECONDS
) -> State:
    """Put the rules in force, and wait until they are confirmed or reverted. Returns {result, reason, at}.

    Raises EngineError: ``not_root``, ``unknown_name``, ``lockout`` for a policy that does not let the plane through,
    ``plane_unreachable`` where it does not answer even before, ``isolation_busy``, ``no_packet_filter``.
    """
    require_root()
    addresses = look_up_all(policy.list_names())
    allowances = build_allowances(policy, addresses)
    watched = check_lockout(allowances, plane)
    backend = find_backend()
    folder.prepare()
    with folder.lock() as lock:
        folder.write(build_state(policy, allowances, watched, backend, folder.read(), watch_seconds))
        folder.write_outcome(None)
        folder.request.unlink(missing_ok=True)
        guard = start_guard(folder, lock)
    return wait_for_outcome(folder, backend, guard, watch_seconds)


def check_lockout(allowances: list[Allowance], plane: PlaneAddress) -> PlaneAddress:
    """The plane with those of its addresses that the rules let through and that answer now."""
    allowed = [a for a in plane.addresses if is_let_through(allowances, a, "tcp", plane.port)]
    if not allowed:
        raise EngineError(
            "lockout",
            N_("The policy would cut this machine off from the plane: it does not let {address} port {port} through."),
            address=plane.addresses[0],
            port=plane.port,
            field="/networks",
            value=", ".join(rule.network for rule in allowances)[:200] or "none",
            limit=f"{plane.addresses[0]} port {plane.port}",
            hint=N_("Add the network of the plane, or its name. Nothing was changed."),
        )
    reachable = tuple(address for address in allowed if can_connect(address, plane.port))
    if not reachable:
        error = EngineError(
            "plane_unreachable",
            N_("The plane {url} does not answer now, so nobody could tell whether the rules cut it off."),
            url=plane.url,
            field="--plane",
            value=plane.url,
            hint=N_("Start the plane or correct the address. Nothing was changed."),
        )
        error.exit_code = 1
        raise error
    return PlaneAddress(plane.url, plane.host, plane.port, reachable)


def build_state(
    policy: Policy,
    allowances: list[Allowance],
    plane: PlaneAddress,
    backend: Backend,
    earlier: State | None,
    watch_seconds: int,
) -> State:
    """The pending state. `origin` is what was there before any policy, `before` what is there now."""
    before = backend.capture()
    return {
        "backend": backend.name,
        "policy": policy.model_dump(mode="json"),
        "digest": build_digest(policy),
        "allowances": [asdict(rule) for rule in allowances],
        "plane": asdict(plane),
        "origin": earlier["origin"] if earlier else before,
        "before": before,
        "earlier": {**earlier, "earlier": None} if earlier else None,
        "applied_at": format_now(),
        "watch_seconds": watch_seconds,
        "confirmed_at": None,
    }


def start_guard(folder: StateFolder, lock: int) -> subprocess.Popen[bytes]:
    """The watching process, in a session of its own, with nothing of this one's terminal; it takes the lock over."""
    return subprocess.Popen(
        [sys.executable, "-m", "deepseek.isolation.guard", str(folder.folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def wait_for_outcome(
    folder: StateFolder, backend: Backend, guard: subprocess.Popen[bytes], watch_seconds: int
) -> dict[str, Any]:
    """How it ended. A watching process that dies without a word is replaced: this one reverts in its place."""
    deadline = time.monotonic() + watch_seconds + GRACE_SECONDS
    while guard.poll() is None and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    outcome = folder.read_outcome()
    if outcome is not None:
        return outcome
    guard.kill()
    guard.wait()
    with folder.lock():
        state = folder.read() or {}
        if "before" in state:
            backend.restore(state["before"])
            folder.write(state["earlier"])
    return build_outcome("reverted", "guard_died")


def revert_policy(folder: StateFolder) -> bool:
    """Take the rules of every policy away; False if none is applied. What others have changed since stays."""
    require_root()
    if not folder.folder.is_dir():
        return False
    was_watched = folder.is_locked()
    if was_watched:
        folder.request.touch()
        deadline = time.monotonic() + GRACE_SECONDS
        while folder.is_locked() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
    with folder.lock():
        folder.request.unlink(missing_ok=True)
        state = folder.read()
        if state is not None:
            find_backend().remove(state["origin"])
            folder.write(None)
    return was_watched or state is not None


def require_root() -> None:
    if os.geteuid() != 0:
        raise EngineError(
            "not_root",
            N_("Only root may change the packet filter."),
            value=str(os.geteuid()),
            limit="user id 0",
            hint=N_("Run it with sudo. `deepseek isolate render` prints the rules as any user."),
        )
