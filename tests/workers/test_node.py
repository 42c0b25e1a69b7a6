"""The start of a worker: what dead ones left is swept, what living ones need stays, a database away is waited for."""

from __future__ import annotations

import os
import subprocess
import threading
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from workers import node as node_module
from workers import process

pytestmark = pytest.mark.services


@pytest.fixture
def stopping(monkeypatch) -> threading.Event:
    event = threading.Event()
    monkeypatch.setattr(node_module, "STOPPING", event)
    monkeypatch.setattr(node_module, "REGISTER_SECONDS", 0.01)
    return event


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [OperationalError("away"), ValueError("surprise")])
def test_registration_is_repeated_until_done(stopping, monkeypatch, fault):
    answers = iter([fault, fault, None])
    worker = SimpleNamespace(bundles="a runner that was started before")

    def start() -> SimpleNamespace:
        answer = next(answers)
        if answer:
            raise answer
        return worker

    reports = []
    monkeypatch.setattr(node_module, "get_worker", start)
    monkeypatch.setattr(node_module, "report_environment", reports.append)
    node_module.register_until_done()
    assert next(answers, "asked three times") == "asked three times"
    assert reports == [worker]


def test_a_node_that_cannot_list_its_packages_registers_all_the_same(monkeypatch):
    def fail(_gpus):
        raise ValueError("no listing")

    monkeypatch.setattr(node_module, "collect_environment", fail)
    node_module.report_environment(SimpleNamespace(node=SimpleNamespace(gpus=[])))


def test_the_worker_of_a_process_is_registered_once(monkeypatch):
    workers = iter(["first", "second"])
    monkeypatch.setattr(node_module, "_worker", None)
    monkeypatch.setattr(node_module, "_start", lambda: next(workers))
    assert [node_module.get_worker(), node_module.get_worker()] == ["first", "first"]


def test_stop_before_registration_is_heard(stopping, monkeypatch):
    monkeypatch.setattr(node_module, "_worker", None)
    node_module.stop_jobs()
    assert stopping.is_set()


def make_job(owner: str, shim: dict | None = None) -> Job:
    return Job(owner=owner, process=shim)


def test_job_is_abandoned_when_worker_and_shim_are_gone():
    living, dead = os.getpid(), subprocess.Popen(["true"])
    began = process.start_time(dead.pid)
    dead.wait()
    here, mine = process.get_realm(), process.start_time(living)
    gone, shim = f"n1:{here}:{dead.pid}:{began}:x", {"pid": living, "start_time": mine}
    expected = {
        (process.name_owner("n1"), None): False,
        (gone, None): True,
        (f"n1:with:colons:{here}:{dead.pid}:{began}:x", None): True,
        (gone, "lives"): False,  # its shim has not ended yet
        (f"n1:{here}:{living}:{mine + 1}:x", None): True,  # the pid is another process's by now
        (f"n1:elsewhere000:{dead.pid}:{began}:x", None): False,
        (f"n1:{dead.pid}:x", None): False,  # the name of an older worker
        (f"n1:{here}:0:{began}:x", None): False,
        ("", None): False,
    }
    found = {(owner, s): process.is_abandoned(make_job(owner, shim if s else None)) for owner, s in expected}
    assert found == expected


def test_zombie_is_gone_and_a_hidden_process_is_not(monkeypatch):
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
    assert process.is_process_gone(dead.pid, process.start_time(dead.pid))
    dead.wait()
    monkeypatch.setattr(process, "read_stat", lambda pid: ("", 0))  # as with ProtectProc=invisible
    assert not process.is_process_gone(os.getpid(), 1)


@pytest.mark.django_db(transaction=True)
def test_new_worker_takes_back_what_its_predecessor_held(monkeypatch, settings, tmp_path, submit, worker_actor, node):
    settings.PLANE_HOME = tmp_path
    dead = subprocess.Popen(["true"])
    owner = f"{node.name}:{process.get_realm()}:{dead.pid}:{process.start_time(dead.pid)}:x"
    dead.wait()
    job = submit()
    services.claim_job(actor=worker_actor, node=node, owner=owner, queue="cpu")
    for name in ("forbid_inspection", "process.kill_orphans", "cgroups.prepare_delegated"):
        monkeypatch.setattr(f"workers.node.{name}", lambda: None)
    started = node_module._start()
    for thread in (started.heartbeat, started.keeper):
        thread.ended.set()
        thread.join(timeout=60)
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.QUEUED, "worker_lost")


def test_sweep_keeps_scratch_of_living_workers(tmp_path):
    mine = process.build_marker(1, 1).replace(":", "-")
    dead = f"1-1-{os.getpid()}-1"
    for name in (mine, dead, "something else"):
        (tmp_path / name).mkdir()
    process.remove_stale_scratch(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine, "something else"])


@pytest.mark.parametrize("name", ["absent", "x" * 300])  # whose status is an error, as on a mount that is stale
def test_sweep_where_no_folder_can_be_read(tmp_path, name):
    process.remove_stale_scratch(tmp_path / name, prefix="node-")


def test_unkillable_process_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(process, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(process, "kill_by_marker", lambda mark: 1)
    process.stop_marked("1:1:1:1")
