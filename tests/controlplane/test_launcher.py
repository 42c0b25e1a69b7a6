"""The launcher alone: what keeps it from starting, and what must not end it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from controlplane import launcher as module
from controlplane.env import Env
from controlplane.launcher import Child, Launcher
from controlplane.startup_checks import CannotStart


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path, said):
    """make(**environment) -> a launcher of a home of its own, closed at the end."""
    made, umask = [], os.umask(0o022)

    def launcher(*, home: Path = tmp_path / "my home", **environment) -> Launcher:
        env = Env(plane_home=home, **{"port": 0, **environment})
        made.append(Launcher(env, parts=["web"], say=said.append))
        return made[-1]

    yield launcher
    os.umask(umask)
    for each in made:
        if each.socket:
            each.socket.close()
        if hasattr(each, "lock"):
            each.lock.close()
        for child in each.children:
            child.signal_group(9)


def test_a_home_has_one_plane(make):
    make().prepare()
    with pytest.raises(CannotStart, match="runs already"):
        make().prepare()


def test_a_home_that_cannot_be_is_named(make, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match="file/home cannot be written"):
        make(home=tmp_path / "file" / "home").prepare()


def test_what_a_killed_launcher_left_is_swept(make):
    one = make()
    (one.home / "broker/queue").mkdir(parents=True)
    left = [one.home / "plane.json", one.home / "broker/queue/.1_x.bell.msg.taken"]
    for path in left:
        path.touch()
    one.prepare()
    assert [path.exists() for path in left] == [False, False]


def test_a_taken_port_is_passed_over(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = make(port=port)
        one.prepare()
        assert port < one.port < port + 100


@pytest.mark.parametrize("bind", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_named_at_once(make, bind):
    with pytest.raises(CannotStart, match=f"at {bind} cannot be bound"):
        make(bind=bind).prepare()


def test_a_child_that_cannot_be_started_is_told_of_and_tried_later(make, said):
    one = make()
    one.prepare()
    child = Child("web", ["/no/such/program"])
    one.children = [child]
    one.start(child)
    assert "web cannot be started: No such file" in said[0]
    child.restart_at = 0.0
    one.watch()
    assert (child.failures, child.process) == (2, None)
    assert "logs/web.log" in said[1]


def test_a_child_that_dies_is_started_again_later_and_later(make, said, monkeypatch):
    one = make()
    one.prepare()
    child = Child("web", ["/bin/false"])
    one.children, pauses = [child], []
    for _ in range(3):
        one.start(child)
        child.process.wait()
        now = time.monotonic()
        with monkeypatch.context() as clock:
            clock.setattr(module.time, "monotonic", lambda now=now: now)
            one.watch()
        pauses.append(child.restart_at - now)
    assert pauses == pytest.approx([0.5, 1.0, 2.0])
    assert "ended with status 1" in said[0]


def test_a_full_disk_does_not_end_the_plane(make, said, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    one = make()
    one.prepare()
    monkeypatch.setattr(module.Path, "write_text", full)
    one.write_facts()
    assert "No space left" in said[0]


def test_a_log_that_has_grown_is_put_aside(make):
    one = make(log_file_bytes=10_000, log_files=2)
    one.prepare()
    one.children = [Child("web", ["true"])]
    one.log_of(one.children[0]).write_text("x" * 10_001)
    one.rotate_logs()
    assert [path.stat().st_size for path in sorted((one.home / "logs").iterdir())] == [0, 10_001]


def test_a_log_that_cannot_be_put_aside_does_not_end_the_plane(make, said, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    one = make()
    one.prepare()
    one.children = [Child("web", ["true"])]
    monkeypatch.setattr(module, "rotate", full)
    one.rotate_logs()
    assert "No space left" in said[0]


def test_children_find_a_home_that_was_named_relatively(make):
    one = make(home=Path("var"))
    one.home = Path("/somewhere/var")
    one.parts = ["worker", "dispatcher", "beat"]
    assert {child.environment["PLANE_HOME"] for child in one.plan()} == {"/somewhere/var"}
