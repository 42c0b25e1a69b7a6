import os
import subprocess

import pytest

from workers import process
from workers.endpoints import keeper
from workers.endpoints.replica import ReplicaRunner
from workers.endpoints.server_process import ServerProcess, read_record, write_record
from workers.process import start_time


@pytest.fixture
def sleeper():
    """A process that stands for a server."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_server_is_adopted_by_pid_and_start_time(sleeper, tmp_path):
    record = ServerProcess(sleeper.pid, start_time(sleeper.pid)).get_identity()
    write_record(tmp_path / "replica-7.json", record)
    adopted = ReplicaRunner(7, tmp_path)
    assert (adopted.is_adopted, adopted.process.pid) == (True, sleeper.pid)
    for changes in ({"start_time": 1}, {"realm": "another host"}, {"pid": os.getppid()}, {"pid": "x"}):
        assert ServerProcess.adopt({**record, **changes}) is None
    sleeper.kill()
    sleeper.wait()
    assert ServerProcess.adopt(record) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"target": {"odd": 1}, "version": 3}'])
def test_a_broken_state_file_adopts_nothing(tmp_path, text):
    (tmp_path / "replica-7.json").write_text(text)
    runner = ReplicaRunner(7, tmp_path)
    assert (runner.process, runner.target, runner.version) == (None, None, None)
    assert read_record(tmp_path / "none.json") == {}


def test_a_stop_ends_the_servers_only_if_whoever_started_the_worker_lives(sleeper, tmp_path, monkeypatch):
    for parent, ends in ((1, False), (os.getppid(), True)):
        monkeypatch.setattr(keeper, "PARENT", parent)
        watcher = keeper.EndpointKeeper(actor=None, node=None, folder=tmp_path)
        write_record(tmp_path / "replica-7.json", ServerProcess(sleeper.pid, start_time(sleeper.pid)).get_identity())
        watcher.runners[7] = ReplicaRunner(7, tmp_path)
        watcher.ask_to_stop()
        assert watcher.ended.is_set()
        assert (sleeper.poll() is None) is not ends or sleeper.wait(60) is not None
    assert sleeper.returncode == -15


def test_why_a_server_ended_is_of_this_time_and_nothing_where_it_was_killed(tmp_path):
    serving, failed = "deepseek: serving fp32, a forecast, on http://127.0.0.1:8600\n", "deepseek: cannot listen on x\n"
    logged = "2026-11-29 15:54:49,181 WARNING oil: version 2 answers instead of 1\n"
    logs = {
        serving + logged: "",
        failed + serving: "",
        serving + "deepseek: stopped\n" + failed: failed.strip(),
        "Traceback\nMemoryError\n": "MemoryError",
        "": "",
    }
    runner, found = ReplicaRunner(7, tmp_path), {}
    for text in logs:
        (tmp_path / "replica-7.log").write_text(text)
        found[text] = runner.read_last_line()
    assert found == logs


def test_a_server_that_is_reaped_while_it_is_looked_at_is_gone(sleeper, monkeypatch):
    """Its parent takes its status between the two looks: /proc has it no more, as if it were hidden."""
    server = ServerProcess(sleeper.pid, start_time(sleeper.pid))

    def read_late(pid: int) -> tuple[str, int]:
        sleeper.kill()
        sleeper.wait()
        return "", 0

    monkeypatch.setattr(process, "read_stat", read_late)
    assert server.is_gone()
