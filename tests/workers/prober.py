"""An engine that tries to get out of its sandbox, and says how far it came. Standard library only, so that any
interpreter of the machine can run it."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


class Targets:
    """What it is to try, as the spec of its job."""

    @staticmethod
    def model_validate_json(text: str) -> SimpleNamespace:
        return SimpleNamespace(**json.loads(text))


def run(spec: Any, *, inputs: Any, out: Path, report: Any) -> Any:
    home, victim = Path(spec.home), Path("/proc", str(spec.victim))
    attempts: dict[str, Callable[[], Any]] = {
        "connect to a port": lambda: socket.create_connection(("127.0.0.1", spec.port), timeout=5),
        "connect to an abstract socket": lambda: connect(b"\0" + spec.abstract.encode()),
        "connect to a socket of the home": lambda: connect(str(home / "s")),
        "read the database": (home / "plane.sqlite3").read_bytes,
        "list the keys": lambda: os.listdir(home / "keys"),
        "list the home's neighbours in scratch": lambda: os.listdir(Path.cwd().parent / "other"),
        "leave by the working folder": lambda: Path("../../plane.sqlite3").read_bytes(),
        "read the environment of the worker": (victim / "environ").read_bytes,
        "read the files of the worker": (victim / "root").joinpath(*home.parts[1:], "plane.sqlite3").read_bytes,
        "open what the worker has open": lambda: os.open(victim / "fd/1", os.O_RDONLY),
        "open the memory of the worker": lambda: (victim / "mem").open("r+b"),
        **({"end the worker": lambda: os.kill(spec.victim, 0)} if spec.signals else {}),
        "become another user": lambda: os.setuid(0 if os.geteuid() else 12345),
        "make a device": lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)),
        "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
        "uncover the home": lambda: uncover(home),
        "write beside the code": lambda: (Path(__file__).parent / "x").touch(),
        "write to the system": lambda: Path("/usr/x").touch(),
        "set a switch of the kernel": lambda: Path("/proc/sys/kernel/core_pattern").write_text("|/x"),
        "take the core limit back": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
    }
    reached = [name for name, attempt in attempts.items() if succeeds(attempt)]
    usable = {
        "scratch": lambda: Path("file").touch(),
        "/tmp": lambda: Path("/tmp/file").touch(),
        "/dev/shm": lambda: Path("/dev/shm/file").touch(),
        "/dev/null": lambda: Path("/dev/null").write_text("x"),
        "its own /proc": lambda: Path("/proc/self/comm").write_text("prober"),
        "loopback": speak_to_itself,
        "inputs": lambda: [Path(path).read_bytes() for path in inputs.values()],
    }
    lost = [name for name, attempt in usable.items() if not succeeds(attempt)]
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    rights = {name: status[name] for name in ("NoNewPrivs", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    out.mkdir()
    summary = {"reached": reached, "lost": lost, "user": os.getuid(), **rights, "python": sys.executable}
    return SimpleNamespace(as_dict=lambda: {"outputs": [], "summary": summary})


def succeeds(attempt: Callable[[], Any]) -> bool:
    """In a child, for some of them cannot be undone."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def connect(address: bytes | str) -> None:
    with socket.socket(socket.AF_UNIX) as any_socket:
        any_socket.connect(address)


def speak_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def call(name: str, *words: Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*words) < 0:
        raise OSError(ctypes.get_errno(), name)


def uncover(home: Path) -> None:
    """As root of a user namespace of its own, where the kernel lets everybody make one."""
    user = os.getuid()
    call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    call("umount2", os.fsencode(home), 2)
    (home / "plane.sqlite3").read_bytes()


def tell_place(spec: Any, *, inputs: Any, out: Path, report: Any) -> Any:
    """Where an ordinary attempt finds itself: its network and what it sees of the plane's home."""
    from deepseek.job import Result

    home = out.parents[3]
    seen = sorted(str(path.relative_to(home)) for path in home.rglob("*") if out.parent not in path.parents)
    out.mkdir()
    return Result((), {"network": os.readlink("/proc/self/ns/net"), "seen": seen, "user": os.getuid()})


def read_secrets(spec: Any, *, inputs: Any, out: Path, report: Any) -> Any:
    """What it can read of a folder of secrets, before and after a secret there is replaced."""
    folder, found = Path(spec.secrets), []
    for step in ("before", "after"):
        found += [f"{step}: {name}" for name in ("secret_key", "tls.key") if succeeds((folder / name).read_bytes)]
        if step == "before":
            Path("ready").write_text("1")
            Path("go").read_text()
    return SimpleNamespace(as_dict=lambda: {"outputs": [], "summary": {"read": found}})


def find_siblings(spec: Any, *, inputs: Any, out: Path, report: Any) -> Any:
    """The owners, as /proc says, of the other processes of its shim."""
    siblings = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text().split()
    owners = [os.stat(f"/proc/{pid}/environ").st_uid for pid in siblings if int(pid) != os.getpid()]
    return SimpleNamespace(as_dict=lambda: {"outputs": [], "summary": {"owners": owners}})


def meet_peers(spec: Any, *, inputs: Any, out: Path, report: Any) -> Any:
    """Say which of the spec's targets it reaches, then wait to be called, and say by whom."""
    reached = []
    for address, port in spec.targets:
        try:  # the first is the one that lets it in: the machine may be busy
            socket.create_connection((address, port), timeout=0.5 if reached else 30).close()
        except OSError:
            continue
        reached.append([address, port])
    with socket.create_server(("0.0.0.0", spec.port)) as server:
        server.settimeout(120)
        report.log("listening")
        caller = server.accept()[1][0]
    return SimpleNamespace(as_dict=lambda: {"outputs": [], "summary": {"reached": reached, "caller": caller}})


def run_in_image(spec: Any, *, inputs: Any, out: Path, report: Any) -> Any:
    """Run the command of the spec in the image of the attempt, and say how it ended and what it wrote to its folder."""
    from deepseek.script.image import LAUNCHER, ScriptImage

    folder = Path.cwd()
    code = ScriptImage({}, folder).start(spec.command, folder, {"PATH": "/bin"}).wait()
    written = {name: path.read_text() if (path := folder / name).exists() else "" for name in ("root", "reached")}
    summary = {"code": code, **written, "launcher": os.environ.get(LAUNCHER)}
    return SimpleNamespace(as_dict=lambda: {"outputs": [], "summary": summary})
