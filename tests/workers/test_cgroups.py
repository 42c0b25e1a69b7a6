"""Cgroups of attempts, against a prepared folder in the place of /sys/fs/cgroup."""

from __future__ import annotations

import errno
import os

import pytest

from apps.platform.nodes.hardware import SUPERVISOR
from tests.workers.conftest import all_events
from workers import cgroups
from workers.process import build_marker


class Delegation:
    """A cgroup tree that systemd delegated to the unit of this worker."""

    def __init__(self, folder) -> None:
        self.roots, self.proc = (folder / "cgroup",), folder / "proc"
        self.unit = self.roots[0] / "system.slice/worker.service"
        self.unit.mkdir(parents=True)
        (self.roots[0] / "cgroup.controllers").write_text("memory pids")
        self.write("cgroup.controllers", "cpu memory pids\n")
        self.write("cgroup.subtree_control", "")
        self.write("cgroup.procs", "41\n42\n")
        (self.proc / "self").mkdir(parents=True)
        self.be_in("/system.slice/worker.service")
        os.setxattr(self.unit, "user.delegate", b"1")

    def write(self, name: str, text: str) -> None:
        (self.unit / name).write_text(text)

    def be_in(self, path: str) -> None:
        (self.proc / "self/cgroup").write_text(f"1:cpu:/elsewhere\n0::{path}\n")

    def prepare(self):
        return cgroups.prepare_delegated(self.roots, self.proc)


@pytest.fixture
def delegation(tmp_path, monkeypatch) -> Delegation:
    monkeypatch.setattr(cgroups, "_delegated", None)
    try:
        return Delegation(tmp_path)
    except OSError:
        pytest.skip("this file system has no extended attributes")


def test_worker_moves_to_a_leaf_and_enables_the_controller(delegation):
    assert delegation.prepare() == cgroups.get_delegated() == delegation.unit
    assert (delegation.unit / "cgroup.subtree_control").read_text() == "+memory"
    assert (delegation.unit / SUPERVISOR / "cgroup.procs").read_text() == "42"  # the last one written to it


def test_restarted_worker_is_in_its_leaf_already(delegation):
    (delegation.unit / SUPERVISOR).mkdir()
    delegation.be_in(f"/system.slice/worker.service/{SUPERVISOR}")
    assert delegation.prepare() == delegation.unit
    assert list((delegation.unit / SUPERVISOR).iterdir()) == []


def test_nothing_is_prepared_where_nothing_is_delegated(delegation):
    def without_controller() -> None:
        delegation.write("cgroup.controllers", "cpu pids")

    def in_a_session_of_others() -> None:
        delegation.write("cgroup.controllers", "memory")
        os.removexattr(delegation.unit, "user.delegate")

    def on_v1() -> None:
        (delegation.proc / "self/cgroup").write_text("4:memory:/somewhere\n")

    wrong = {}
    for spoil in (without_controller, in_a_session_of_others, on_v1):
        spoil()
        if delegation.prepare() is not None or cgroups.create_group("1:1:1:1", 2**20) is not None:
            wrong[spoil.__name__] = cgroups.get_delegated()
    assert wrong == {}


def test_container_shows_its_own_cgroup_as_the_root(delegation):
    root = delegation.roots[0]
    delegation.be_in("/")
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (root / name).write_text("")
    assert delegation.prepare() is None  # the machine's own root
    (root / "cgroup.type").write_text("domain\n")
    assert delegation.prepare() == root


def test_processes_that_fork_meanwhile_are_moved_again(delegation, monkeypatch):
    answers, moved = iter([errno.EBUSY, errno.EBUSY, 0]), []
    keep = type(delegation.unit).write_text

    def refuse_twice(path, text):
        if path.name == "cgroup.subtree_control" and (number := next(answers)):
            raise OSError(number, "busy")
        return keep(path, text)

    monkeypatch.setattr(cgroups, "move_processes", lambda *folders: moved.append(folders))
    monkeypatch.setattr(type(delegation.unit), "write_text", refuse_twice)
    assert (delegation.prepare(), len(moved)) == (delegation.unit, 3)


def test_groups_of_dead_workers_are_removed_and_others_stay(delegation):
    mine, dead = build_marker(1, 1), f"1:1:{os.getpid()}:1"
    for mark in (mine, dead):
        (delegation.unit / f"job-{mark.replace(':', '-')}").mkdir()
    delegation.prepare()
    assert [path.name for path in delegation.unit.glob("job-*")] == [f"job-{mine.replace(':', '-')}"]


def test_group_has_the_limit_no_swap_and_ends_as_one(delegation):
    delegation.prepare()
    group = cgroups.create_group("7:1:2:3", 128 * 2**20)
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {"memory.max": str(128 * 2**20), "memory.oom.group": "1", "memory.swap.max": "0"}


def test_group_is_removed_and_one_that_will_not_go_is_left(delegation, monkeypatch):
    delegation.prepare()
    group = cgroups.create_group("7:1:2:3", 2**20)
    monkeypatch.setattr(cgroups, "REMOVE_SECONDS", 0.05)
    cgroups.remove_group(group)  # a real cgroup's files go with it; these keep it
    assert group.is_dir()
    for path in group.iterdir():
        path.unlink()
    cgroups.remove_group(group)
    cgroups.remove_group(None)
    assert not group.exists()


def test_engine_joins_its_group(engine, tmp_path):
    group = tmp_path / "group"
    group.mkdir()
    process = engine({}, group=group)
    all_events(process)
    assert (process.close(60), (group / "cgroup.procs").read_text()) == (0, "0")


def test_kill_by_the_kernel_at_the_limit_is_the_jobs_limit(engine, tmp_path):
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 1\n")
    process = engine({"fail": "crash"}, group=tmp_path, memory_bytes=2**30)
    usage = all_events(process)[-1]
    assert (process.close(60), usage["peak_memory_bytes"]) == (76, 2**30)
