"""The plane away, busy, or not willing: what the device does meanwhile, and that it asks no more than it must."""

import pytest

from deepseek.agent.errors import AgentError
from deepseek.agent.plane.link import LONGEST_PAUSE, Link
from tests.deepseek.agent.conftest import Device
from tests.deepseek.agent.releases import make_release


def test_a_poll_without_news_is_a_304_and_nothing_else(device, plane):
    device.run()
    before = plane.requests.total()
    for _ in range(4):
        device.wait(61)
    assert plane.requests["GET /poll"] == 5
    assert plane.requests.total() == before + 4
    assert len(plane.heartbeats) == 1


def test_a_heartbeat_comes_now_and_then(device, plane):
    device.run()
    for _ in range(6):
        device.wait(61)
    assert len(plane.heartbeats) == 2
    assert plane.heartbeats[-1]["metrics"]["disk_free_bytes"] > 0


def test_hours_without_the_plane(device, plane):
    """What runs goes on; statuses and receipts wait, and come in order."""
    release = make_release(1)
    plane.assign(release, "1")
    device.run(until=lambda device: plane.requests["GET /files"])
    plane.away = 10_000
    for _ in range(30):
        device.wait(300)
    assert plane.requests.total() < 60
    plane.away = 0
    device.wait(LONGEST_PAUSE)
    device.run()
    assert device.factory.answering == [release.digest]
    assert plane.steps == ["downloading", "verifying", "installing", "checking", "switching"]
    assert [receipt.release for receipt in plane.receipts] == [release.digest]


def test_a_device_starts_and_serves_without_the_plane(device, plane):
    release = make_release(1)
    plane.assign(release, "1")
    device.run().wait(10)
    device.end()
    plane.away, plane.away_status = 10_000, 0
    device.start()
    device.run(turns=5)
    assert device.factory.answering == [release.digest]


def test_the_plane_says_how_long_to_wait(device, plane):
    plane.away, plane.away_status, plane.retry_after = 1, 429, "120"
    device.run(turns=1)
    device.now += 115
    device.run(turns=1)
    assert plane.requests.total() == 1
    device.wait(40)
    assert plane.requests["POST /enrol"] == 2


def test_pauses_grow_with_each_failure_and_end_with_the_first_success():
    link = Link(clock=lambda: 0.0, draw=lambda: 1.0)
    assert [link.note_failure() for _ in range(5)] == [2, 4, 8, 16, 32]
    assert [link.note_failure() for _ in range(20)][-1] == LONGEST_PAUSE
    link.note_success()
    assert link.note_failure() == 2


def test_polls_of_devices_that_started_together_spread():
    pauses = {Link(draw=lambda share=share: share).draw_poll_pause(100) for share in (0.0, 0.25, 1.0)}
    assert {round(pause) for pause in pauses} == {80, 90, 120}


def test_a_revoked_device_goes_on_serving_and_asks_once_an_hour(device, plane):
    release = make_release(1)
    plane.assign(release, "1")
    device.run().wait(10)
    plane.set_poll(state="revoked")
    device.wait(61)
    before = plane.requests.total()
    for _ in range(5):
        device.wait(600)
    assert (device.agent.session.state, device.factory.answering) == ("revoked", [release.digest])
    assert plane.requests.total() == before
    plane.set_poll(state="active")
    device.wait(3600)
    assert device.agent.session.state == "active"


def test_another_program_at_the_address_of_the_plane(device, plane):
    device.run()
    plane.set_poll(poll_seconds="often")
    device.wait(61)
    assert device.events[-1] == "plane_answer_wrong"
    plane.set_poll(poll_seconds=60)
    device.wait(61)
    assert device.agent.session.link.failures == 0


def test_enrolment_happens_once(device, plane):
    device.run()
    device.end()
    device.start()
    device.run()
    assert plane.requests["POST /enrol"] == 1


def test_killed_before_the_answer_is_stored_it_enrols_again_as_the_same(device, plane):
    class Killed(BaseException):
        pass

    def observe(step):
        if step == "staged device.json":
            raise Killed

    device.observe = observe
    with pytest.raises(Killed):
        device.run()
    device.observe = lambda step: None
    device.end()
    device.start()
    device.run()
    assert {each["id"] for each in plane.devices.values()} == {"1"}
    assert len(plane.devices) == 2
    assert device.agent.session.state == "active"


def test_a_refused_enrolment_is_tried_again_after_longer_and_longer_pauses(tmp_path, plane):
    refused = Device(tmp_path / "other", plane, enrolment_token="dse_unknown")
    agent, tries = refused.start(), []
    for minute in range(4 * 60):
        agent.run_turn()
        refused.now += 60
        if plane.requests["POST /enrol"] > len(tries):
            tries.append(minute)
    assert tries == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert (refused.agent.session.state, plane.requests.total()) == ("refused", len(tries))
    assert "dse_unknown" not in refused.log.getvalue()


def test_a_token_that_counts_again_enrols(device, plane, monkeypatch):
    monkeypatch.setattr("tests.deepseek.agent.plane_double.ENROLMENT_TOKEN", "dse_another")
    device.run(turns=1)
    assert (device.agent.session.state, device.events) == ("refused", ["enrolment_refused"])
    monkeypatch.undo()
    device.wait(61)
    assert (device.agent.session.state, device.agent.session.link.failures) == ("active", 0)


def test_a_refused_enrolment_ends_an_agent_that_runs_once(tmp_path, plane, device):
    refused = Device(tmp_path / "other", plane, enrolment_token="dse_unknown", is_once=True)
    with pytest.raises(AgentError) as caught:
        refused.run()
    assert (caught.value.code, caught.value.exit_code) == ("enrolment_refused", 2)
    assert "dse_unknown" not in str(caught.value.as_dict()) + refused.log.getvalue()
    device.run()
    taken = Device(tmp_path / "taken", plane, is_once=True)
    with pytest.raises(AgentError, match=r"device_exists|refused"):
        taken.run()
    with pytest.raises(AgentError) as caught:
        Device(tmp_path / "without", plane, enrolment_token="").run()
    assert caught.value.code == "not_enrolled"


def test_no_token_gets_into_the_log_or_the_status(device, plane):
    plane.assign(make_release(1), "1")
    device.run()
    plane.set_poll(state="revoked")
    device.wait(61)
    text = device.log.getvalue() + device.agent.home.status_file.read_text()
    assert "dse_" not in text
    assert "dsd_" not in text
    modes = {path.name: path.stat().st_mode & 0o777 for path in device.folder.iterdir() if path.suffix in (".key",)}
    assert (modes, device.agent.home.device_file.stat().st_mode & 0o777) == ({"device.key": 0o600}, 0o600)
