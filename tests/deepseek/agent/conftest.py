"""One device and its plane: a stand-in for the plane, servers in this process, and a clock that the test moves."""

from __future__ import annotations

import errno
import io
import json

import pytest

from deepseek.agent.agent import Agent
from deepseek.agent.command import run_agent
from deepseek.agent.log import JsonLog
from deepseek.agent.options import AgentOptions
from deepseek.agent.plane.transport import PlaneConnection
from deepseek.agent.storage.disk import Disk, ignore_step
from deepseek.agent.storage.home import Home
from deepseek.job import EngineError
from tests.deepseek.agent.plane_double import ENROLMENT_TOKEN, PlaneDouble
from tests.deepseek.agent.releases import make_key_lists
from tests.deepseek.agent.servers import FakeFactory


class LimitedDisk(Disk):
    """Has room for `device.room` more writes; None is for all."""

    def __init__(self, device):
        super().__init__(lambda step: device.observe(step))
        self.device = device

    def write(self, path, data, *, mode=0o600):
        self.device.take_room()
        super().write(path, data, mode=mode)

    def link(self, path, target):
        self.device.take_room()
        super().link(path, target)


class Device:
    """A device whose agent may be ended and started again. `now` is its clock."""

    def __init__(self, folder, plane, **options):
        self.folder, self.plane, self.now = folder, plane, 1000.0
        self.options = {"enrolment_token": ENROLMENT_TOKEN, "name": "press-1", "watch_seconds": 3.0, **options}
        self.observe = ignore_step
        self.room, self.refused_writes = None, 0
        self.log = io.StringIO()
        self.agent = None

    def take_room(self):
        if self.room == 0:
            self.refused_writes += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room = None if self.room is None else self.room - 1

    def start(self):
        """A new process of the agent: nothing of the former one lives on."""
        home = Home(self.folder, LimitedDisk(self))
        home.prepare()
        self.factory = FakeFactory()
        url = self.plane.url if self.plane else ""
        options = AgentOptions(self.folder, plane=url, **self.options)
        connection = PlaneConnection(url) if url else None
        self.agent = Agent(
            home,
            options,
            self.factory,
            connection,
            JsonLog(self.log),
            architecture="x86_64",
            clock=lambda: self.now,
            draw=lambda: 0.5,
        )
        return self.agent

    def run(self, turns=60, until=lambda device: False):
        """Turn after turn, each when it is due; until nothing is left to do before the next poll, or `until`."""
        if self.agent is None:
            self.start()
        for _ in range(turns):
            pause = self.agent.run_turn()
            if until(self):
                return self
            if self.agent.is_settled and pause > 1:
                break
            self.now += pause
        return self

    def end(self):
        """As a kill ends it: its servers go, and nothing else is done."""
        for server in self.factory.started:
            server.ended = True
        if self.agent.session is not None:
            self.agent.session.connection.close()
        self.agent = None

    def wait(self, seconds):
        """Let time pass, and do what is due then."""
        self.now += seconds
        return self.run()

    @property
    def current(self):
        return Home(self.folder).read_current()

    @property
    def events(self):
        return [json.loads(line)["event"] for line in self.log.getvalue().splitlines()]

    @property
    def outcome(self):
        outcome = self.agent.updater.outcome
        return outcome and (outcome.result, outcome.code)


@pytest.fixture
def plane():
    double = PlaneDouble(make_key_lists())
    yield double
    double.close()


@pytest.fixture
def device(tmp_path, plane):
    made = Device(tmp_path / "home", plane)
    yield made
    if made.agent is not None:
        made.agent.close()


@pytest.fixture
def call_agent(monkeypatch, capsys):
    """call_agent(*words) -> (exit code, code of the error) of `deepseek agent`, with servers in this process."""
    factory = FakeFactory()
    factory.port = 8080
    monkeypatch.setattr("deepseek.agent.startup.ServeFactory", lambda *words, **more: factory)

    def call_agent(*words):
        try:
            return run_agent([str(word) for word in words]), ""
        except EngineError as error:
            return error.exit_code, error.code
        except SystemExit as end:
            return end.code, "usage"

    return call_agent
