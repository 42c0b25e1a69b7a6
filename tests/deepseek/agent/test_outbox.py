"""What waits for the plane: in order, bounded, and only once taken it is gone."""

import io
import json

import pytest

from deepseek.agent.log import JsonLog
from deepseek.agent.plane import outbox as module
from deepseek.agent.plane.outbox import Outbox
from deepseek.agent.plane.transport import PlaneAway
from deepseek.agent.storage.home import Home
from deepseek.client.errors import PlaneRefusal


class Connection:
    """Takes messages, or fails as `failures` say, one for each request."""

    def __init__(self, *failures):
        self.failures, self.taken = list(failures), []

    def request(self, method, path, body):
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.taken.append((path, body))


def refuse(status, code):
    return PlaneRefusal.from_answer(status, {"code": code, "message": "No."})


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def outbox(home):
    return Outbox(home, JsonLog(io.StringIO()))


def test_messages_come_in_order_also_after_a_restart(home, outbox):
    outbox.add_status("1", "verifying")
    outbox.add_receipt({"payload": "x"})
    again = Outbox(home, JsonLog(io.StringIO()))
    again.add_status("2", "failed", code="disk_full")
    connection = Connection()
    assert again.send(connection) == 3
    assert [path for path, _ in connection.taken] == ["/assignments/1/status", "/receipts", "/assignments/2/status"]
    assert len(again) == 0


def test_what_was_not_taken_waits(outbox):
    for step in ("verifying", "installing", "checking"):
        outbox.add_status("1", step)
    connection = Connection(None, PlaneAway("plane_unreachable", "Away."))
    with pytest.raises(PlaneAway):
        outbox.send(connection)
    assert len(outbox) == 2
    outbox.send(connection)
    assert [body["step"] for _, body in connection.taken] == ["verifying", "installing", "checking"]


def test_a_refused_message_does_not_hold_up_the_others(outbox):
    outbox.add_status("1", "verifying")
    outbox.add_receipt({})
    connection = Connection(refuse(409, "assignment_closed"))
    assert (outbox.send(connection), len(outbox)) == (1, 0)


def test_a_refused_device_keeps_its_messages(outbox):
    outbox.add_receipt({})
    with pytest.raises(PlaneRefusal):
        outbox.send(Connection(refuse(401, "device_revoked")))
    assert len(outbox) == 1


def test_only_the_newest_progress_waits(home, outbox):
    outbox.add_status("1", "downloading", progress=0.1)
    outbox.add_status("1", "downloading", progress=0.5)
    (path,) = home.outbox.iterdir()
    assert json.loads(path.read_text())["body"]["progress"] == 0.5


def test_it_is_bounded_and_receipts_outlive_statuses(outbox, monkeypatch):
    monkeypatch.setattr(module, "MAX_STATUSES", 3)
    outbox.add_receipt({"number": 1})
    for number in range(5):
        outbox.add_status(str(number), "verifying")
    connection = Connection()
    outbox.send(connection)
    assert [path for path, _ in connection.taken] == ["/receipts", *(f"/assignments/{n}/status" for n in (2, 3, 4))]
