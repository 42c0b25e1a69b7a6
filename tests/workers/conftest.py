"""A worker in the test's own process: its node, its attempts, and an engine process to play with.

Engines run in a thread of the test's process wherever that does no harm (tests/workers/inline_engine.py); a test that
is about the process takes `engine_processes`.
"""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import Submission
from apps.platform.nodes.models import Node
from tests.workers.inline_engine import start_engine
from workers import child, runner, tasks
from workers import node as node_module
from workers.heartbeat import Heartbeat
from workers.process import EngineProcess, build_marker


@pytest.fixture
def node(db) -> Node:
    return Node.objects.create(name="test", host="test", queues=["cpu"], cpus=4, memory_bytes=8 * 2**30)


@pytest.fixture
def submit(project, engineer, actor_for):
    def submit_one(kind="noop", spec=None, **asked) -> Job:
        submission = Submission(kind=kind, spec=spec or {}, **asked)
        return submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]

    return submit_one


@pytest.fixture
def inline_engines(monkeypatch):
    """Engines in a thread of this process, except those that kill their process or are to be stopped."""
    monkeypatch.setattr(runner, "EngineProcess", start_engine)
    # Only a main thread may set a handler, and the test's process keeps its own.
    monkeypatch.setattr(child, "signal", SimpleNamespace(signal=lambda *_: None, SIGTERM=15, SIG_DFL=0))


@pytest.fixture
def engine_processes(inline_engines, monkeypatch):
    """Every engine of this test in a child process, as on a node."""
    monkeypatch.setattr(runner, "EngineProcess", EngineProcess)


@pytest.fixture
def worker(node, worker_actor, settings, tmp_path, monkeypatch, inline_engines):
    settings.PLANE_HOME = tmp_path
    heartbeat = Heartbeat(actor=worker_actor, node=node, owner="test:1")
    worker = node_module.Worker(actor=worker_actor, node=node, owner="test:1", heartbeat=heartbeat)
    monkeypatch.setattr(tasks, "get_worker", lambda: worker)
    heartbeat.start()
    yield worker
    heartbeat.ended.set()
    heartbeat.join(timeout=60)  # what it writes later would stand in another test


@pytest.fixture
def engine(tmp_path):
    """engine(spec) -> a running EngineProcess of a noop job; whatever is left is ended at the end."""
    started = []

    def start(spec: dict, *, mark: str = "", group=None, lock=None, **request) -> EngineProcess:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        request = {
            "entry": "deepseek.noop.run:run",
            "spec_class": "deepseek.noop.spec:NoopSpec",
            "spec": json.dumps(spec),
            "inputs": {},
            "out": str(folder / "out"),
            **request,
        }
        mark = mark or build_marker(os.getpid(), len(started))
        process = EngineProcess(
            request, scratch=folder, mark=mark, cpus=1, devices=[], grace=0.5, group=group, lock=lock
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.shim.returncode is None:
            process.close(0.5)


def read_all(process: EngineProcess) -> list[dict]:
    """Every event of the engine, without what the shim adds; until the shim too has ended."""
    return [event for event in all_events(process) if event["event"] != "usage"]


def all_events(process: EngineProcess) -> list[dict]:
    data = b""
    while chunk := os.read(process.events, 65536):
        data += chunk
    while os.read(process.prints, 65536):
        pass
    return [json.loads(line) for line in data.splitlines() if line]
