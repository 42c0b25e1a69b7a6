"""The sandbox with real processes: an engine that tries to get out, in each way in which a node may isolate."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.process import is_process_gone
from workers.sandbox import can_keep_signals_inside
from workers.sandbox_trial import try_all, try_one
from workers.shim import MEMORY_LIMIT

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    "workers/*.py",
    "workers/images/*.py",
    "deepseek/*.py",
    "deepseek/script/__init__.py",
    "deepseek/script/image.py",
    "deepseek/collect/*.py",
    "tests/__init__.py",
    "tests/workers/prober.py",
    "tests/workers/hoarder.py",
)
NOBODY, OWN_USER = 65534, 1_900_000_007
SYSTEM_PYTHON = next((path for path in ("/usr/bin/python3.11", "/usr/bin/python3") if os.access(path, os.X_OK)), None)
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
SIGNALS_KEPT = can_keep_signals_inside()  # else only a user of its own keeps an engine from signalling others
ALWAYS_CLOSED = "0000000000000000"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a database, a key, a socket and another attempt's scratch, where every user may pass."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/var/tmp"))
    folder.chmod(0o755)
    for source in (path for pattern in CODE for path in ROOT.glob(pattern)):
        copy = folder / "code" / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    home = folder / "home"
    for name in ("keys", "scratch/1-1/inputs", "scratch/other"):
        (home / name).mkdir(parents=True)
    (home / "plane.sqlite3").write_text("secret")
    (home / "scratch/1-1/inputs/table").write_text("data")
    (home / "scratch/1-1/inputs/table").chmod(0o600)
    yield home
    shutil.rmtree(folder)


class Case:
    """One way of isolation: which user the shim runs as, and which interpreter it has."""

    def __init__(self, home: Path, *, way: str, user: int | None, shim_user: int | None, python: str) -> None:
        self.home, self.way, self.user, self.python = home, way, user, python
        self.identity: dict[str, Any] = {}
        self.connect: dict[str, Any] | None = None
        self.hide: list[str] = []
        self.image: Path | None = None
        if shim_user is not None:
            self.identity = {"user": shim_user, "group": shim_user, "extra_groups": []}
            for path in (home, *home.rglob("*")):
                os.chown(path, shim_user, shim_user)
        self.scratch = home / "scratch/1-1"

    def plan(self) -> dict[str, Any]:
        code = str(self.home.parent / "code")
        keep = [code, sys.prefix, sys.base_prefix]
        image = {"own_processes": True, "image": {"root": str(self.image), "job_folder": "/job"}} if self.image else {}
        return {
            **image,
            "way": self.way,
            "user": self.user,
            "scratch": str(self.scratch),
            "hide": [str(self.home), "/root", *self.hide],
            "keep": [*keep, str(self.image)] if self.image else keep,
            "memory_bytes": 2**26,
            "host_network": False,
            "code": code,
        }

    def run(
        self, entry: str = "tests.workers.prober:run", memory_bytes: int = 0, **targets: Any
    ) -> tuple[int, list[dict[str, Any]], str]:
        request = {
            "entry": entry,
            "memory_bytes": memory_bytes,
            "spec_class": "tests.workers.prober:Targets",
            "spec": json.dumps({"home": str(self.home), **targets}),
            "inputs": {"table": str(self.scratch / "inputs/table")},
            "out": str(self.scratch / "out"),
            "sandbox": self.plan(),
            "connect": self.connect,
        }
        events_read, events_write = os.pipe()
        lifeline_read, lifeline_write = os.pipe()
        shim = subprocess.Popen(
            [
                self.python,
                "-I",
                str(self.home.parent / "code/workers/shim.py"),
                str(events_write),
                str(lifeline_read),
                "1",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=(events_write, lifeline_read),
            cwd=self.scratch,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.scratch), "TMPDIR": str(self.scratch)},
            **self.identity,
        )
        os.close(events_write)
        os.close(lifeline_read)
        printed, _ = shim.communicate(json.dumps(request), timeout=60)
        os.close(lifeline_write)
        with os.fdopen(events_read) as lines:
            events = [json.loads(line) for line in lines if line.strip()]
        return shim.returncode, [event for event in events if event["event"] != "usage"], printed


@pytest.fixture
def victim(case) -> Iterator[int]:
    """A process of the worker's user, which an engine must not look into."""
    process = subprocess.Popen(["sleep", "60"], env={"SECRET_KEY": "x"}, **case.identity)
    yield process.pid
    process.kill()
    process.wait()


WAYS = {
    "worker's user, as root": {"way": "root", "user": None, "shim_user": None, "python": sys.executable},
    "own user": {"way": "root", "user": OWN_USER, "shim_user": None, "python": SYSTEM_PYTHON},
    "user namespace": {"way": "user", "user": None, "shim_user": NOBODY, "python": SYSTEM_PYTHON},
}


@pytest.fixture(params=WAYS)
def case(request, home) -> Case:
    options = WAYS[request.param]
    if os.geteuid() != 0:
        options = {"way": "user", "user": None, "shim_user": None, "python": sys.executable}
        if request.param != "user namespace":
            pytest.skip("only root may become another user")
    if options["python"] is None:
        pytest.skip("there is no interpreter that every user can read")
    return Case(home, **options)


def test_engine_reaches_nothing_that_is_not_its_own(case, victim):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
    ):
        name = f"sandbox-{os.getpid()}"
        abstract.bind(b"\0" + name.encode())
        abstract.listen()
        named.bind(str(case.home / "s"))
        named.listen()
        code, events, printed = case.run(
            port=server.getsockname()[1], abstract=name, victim=victim, signals=SIGNALS_KEPT
        )
    assert (code, [event["event"] for event in events]) == (0, ["result"]), (events, printed)
    found = events[0]["summary"]
    assert (found["reached"], found["lost"]) == ([], [])
    assert {name: found[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == dict.fromkeys(
        ("CapPrm", "CapEff", "CapBnd", "CapAmb"), ALWAYS_CLOSED
    )
    assert found["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert found["user"] == (case.user or case.identity.get("user", 0))


@pytest.fixture
def secrets() -> Iterator[Path]:
    """Not below /tmp or /var/tmp, which a sandbox replaces: only a cover hides these."""
    if not os.access("/srv", os.W_OK):
        pytest.skip("needs a folder of the system that may be written")
    folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/srv"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_secrets_stay_hidden_while_one_is_replaced(case, secrets):
    """With their neighbours, such as the key of the web server's certificate."""
    case.hide = [str(secrets)]
    for name in ("secret_key", "tls.key", "new"):
        (secrets / name).write_text("secret")
    for name in ("ready", "go"):
        os.mkfifo(case.scratch / name)
        (case.scratch / name).chmod(0o666)

    def replace_secret() -> None:
        (case.scratch / "ready").read_text()
        (secrets / "new").rename(secrets / "secret_key")
        (case.scratch / "go").write_text("1")

    threading.Thread(target=replace_secret, daemon=True).start()
    code, events, printed = case.run("tests.workers.prober:read_secrets", secrets=str(secrets))
    assert (code, events[0].get("summary")) == (0, {"read": []}), (events, printed)
    assert not (secrets / "new").exists()


def test_connector_that_cannot_start_ends_the_attempt(case):
    case.connect = {"wanted": [], "allowed": [], "unknown": 1}
    code, events, printed = case.run(port=1, abstract="x", victim=1)
    assert (code, [event.get("code") for event in events]) == (2, ["sandbox_failed"]), printed
    assert "the connector to the network did not start" in events[0]["message"]
    assert "TypeError" in printed


@NEEDS_ROOT
@pytest.mark.skipif(SYSTEM_PYTHON is None, reason="there is no interpreter that every user can read")
def test_engine_cannot_look_into_its_connector(home):
    """Landlock (Linux 6.12) forbids it too. Files of a process that its user may not trace are root's in /proc."""
    case = Case(home, **WAYS["own user"])
    case.connect = {"wanted": [], "allowed": []}
    code, events, printed = case.run("tests.workers.prober:find_siblings")
    assert (code, events[0].get("summary")) == (0, {"owners": [0]}), (events, printed)


def test_files_in_shm_count_as_memory(case):
    """Of every user that an engine can have: the watch reads its processes from outside."""
    assert case.run("tests.workers.hoarder:fill_shm", 56 * 2**20)[0] == MEMORY_LIMIT


def test_files_in_shm_count_beside_a_connector(case):
    """Which has a /dev/shm of its own."""
    case.connect = {"wanted": [], "allowed": []}
    assert case.run("tests.workers.hoarder:fill_shm", 56 * 2**20)[0] == MEMORY_LIMIT


def test_engine_that_fills_shm_between_two_looks_takes_too_much_memory(case):
    code, events, printed = case.run("tests.workers.hoarder:overfill_shm", 2**26, size=2**27)
    assert (code, events) == (MEMORY_LIMIT, []), printed


IN_IMAGE = """
echo /* /tmp/mi* /nvidia/libc.so.6 > /job/root
[ -s /nvidia/libc.so.6 ] || exit 1
for path in /written /nvidia/libc.so.6 /etc/written /bin/sh /sys/written /proc/sys/kernel/core_pattern /dev/written; do
  if (echo x >> $path) 2>/dev/null; then echo $path >> /job/reached; fi
done
exit 7
"""


def test_process_has_the_root_of_an_image(case):
    """In every way of isolation, that of a worker that is not root among them; with a library of a GPU's driver."""
    launcher = case.home.parent / "code/workers/images/root.py"
    source = launcher.read_text().replace('"/dev/nvidiactl"', '"/dev/null"').replace('"libcuda.so*"', '"libc.so*"')
    launcher.write_text(source)
    case.image = case.home / "image"
    shell = Path("/bin/sh").resolve()
    linked = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout
    for path in ("/bin/sh", *re.findall(r"(/\S+) \(0x", linked)):
        target = case.image / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (case.image / "etc").mkdir()
    (case.image / "etc/hosts").symlink_to("/job/hosts")
    (case.scratch / "tmp").mkdir()
    (case.scratch / "tmp/mine").touch()
    if case.identity:
        for path in (case.scratch / "tmp", case.scratch / "tmp/mine"):
            os.chown(path, case.identity["user"], case.identity["user"])
    code, events, printed = case.run("tests.workers.prober:run_in_image", command=["sh", "-c", IN_IMAGE])
    assert code == 0, (events, printed)
    assert events[0]["summary"] == {
        "code": 7,
        "root": "/bin /dev /etc /job /lib /lib64 /nvidia /proc /sys /tmp /tmp/mine /nvidia/libc.so.6\n",
        "reached": "",
        "launcher": None,
    }


def test_plan_that_cannot_be_kept_ends_the_attempt(home):
    case = Case(home, way="user", user=None, shim_user=None, python=sys.executable)
    case.plan = lambda: {**Case.plan(case), "scratch": str(home / "gone")}
    code, events, _ = case.run(port=1, abstract="x", victim=1)
    assert (code, events[0]["code"]) == (2, "sandbox_failed")


@NEEDS_ROOT
@pytest.mark.skipif(SYSTEM_PYTHON is None, reason="there is no interpreter that every user can read")
def test_node_takes_the_best_way_that_works(home):
    """An interpreter that its own user cannot read leaves the worker's, and says so, as does an image that is gone."""
    private, image = home / "python", home / "image"
    image.mkdir()
    shutil.copy(SYSTEM_PYTHON, private)
    private.chmod(0o700)
    plan = {**Case(home, way="", user=None, shim_user=None, python="").plan(), "keep": [str(home.parent)]}
    tried = {}
    for python, root in ((SYSTEM_PYTHON, image), (str(private), home / "gone")):
        wanted = {**plan, "hide": ["/mnt"], "image": {"root": str(root), "job_folder": "/job"}}
        ended = subprocess.run(
            [python, "-I", str(home.parent / "code/workers/sandbox_trial.py")],
            input=json.dumps({"plan": wanted, "user": OWN_USER}),
            capture_output=True,
            text=True,
            check=True,
        )
        tried[python] = json.loads(ended.stdout)
    best = {"way": "root", "user": OWN_USER, "why_not": [], "signals": SIGNALS_KEPT}
    best |= {"no_processes": "", "no_images": ""}
    assert tried[SYSTEM_PYTHON] == best
    assert (tried[str(private)]["way"], tried[str(private)]["user"]) == ("root", None)
    assert "cannot be read" in tried[str(private)]["why_not"][0]["reason"]
    assert "No such file" in tried[str(private)]["no_images"]


@NEEDS_ROOT
def test_worker_that_could_not_find_what_is_left_gives_no_user_of_its_own(monkeypatch, tmp_path):
    """A container's root often lacks the right to look into the processes of others."""
    monkeypatch.setattr("workers.sandbox_trial.can_read_other_processes", lambda: False)
    monkeypatch.setattr("workers.sandbox_trial.try_one", lambda plan: None)
    found = try_all({"scratch": str(tmp_path)}, OWN_USER)
    assert (found["way"], found["user"]) == ("root", None)
    assert "CAP_SYS_PTRACE" in found["why_not"][0]["reason"]


def test_way_that_does_not_end_is_ended_and_a_reason(monkeypatch, tmp_path):
    def start_and_hang(plan: dict[str, Any], launch: Any) -> None:
        (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "60"]).pid))
        signal.pause()

    monkeypatch.setattr("workers.sandbox_trial.TRY_SECONDS", 4.0)
    monkeypatch.setattr("workers.sandbox_trial.enter", start_and_hang)
    assert try_one({"scratch": str(tmp_path)}) == "it does not end within 4 s"
    started = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while not is_process_gone(started, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_process_gone(started, 0)


def test_way_whose_trial_is_killed_is_not_taken(monkeypatch):
    """By the kernel for instance, when memory is short: it has told nothing then."""
    monkeypatch.setattr("workers.sandbox_trial.enter", lambda plan, launch: os.kill(os.getpid(), signal.SIGKILL))
    assert try_one({}) == "it was ended before it could tell"


def test_node_without_namespaces_says_why(monkeypatch):
    def refuse(name: str, *words: Any) -> None:
        raise PermissionError(1, "Operation not permitted", name)

    monkeypatch.setattr("workers.sandbox.call", refuse)
    found = try_all({"scratch": "/", "hide": [], "keep": [], "memory_bytes": 1, "host_network": False, "code": "/"}, 0)
    assert found["way"] == "none"
    assert found["why_not"][-1]["reason"] == "unshare: Operation not permitted"
