"""The agent is killed at every step of an update: afterwards the old version or the new one answers, never neither."""

import pytest

from deepseek.agent.startup import FAILED, judge_end
from deepseek.agent.storage.home import Home
from tests.deepseek.agent.releases import make_release


class Killed(BaseException):
    """What ends the agent: nothing of it may catch this."""


class Killer:
    """Ends the agent at its `place`-th durable step."""

    def __init__(self, place):
        self.left, self.step = place, ""

    def __call__(self, step):
        self.left -= 1
        if self.left == 0:
            self.step = step
            raise Killed


def update_with_kill(device, plane, release, place):
    """Update to `release`, killed at a step and started anew; returns the step, empty where there were fewer."""
    killer, known = Killer(place), {device.current, release.digest}
    device.observe = killer
    try:
        device.run().wait(60)
    except Killed:
        device.observe = lambda step: None
        assert device.current in known, killer.step
        device.end()
        device.start()
        device.run(turns=3)
        assert device.factory.answering, killer.step
        assert set(device.factory.answering) <= known, killer.step
        device.now += 30
        device.run().wait(120)
    return killer.step


def test_old_or_new_whatever_step_it_is_killed_at(device, plane):
    first = make_release(1)
    plane.assign(first, "0")
    device.run().wait(60)
    place, sequence, steps, wrong = 1, 2, [], {}
    while True:
        release = make_release(sequence, scale=sequence, size=50)
        plane.assign(release, str(sequence))
        step = update_with_kill(device, plane, release, place)
        if device.current != release.digest or device.factory.answering != [release.digest]:
            wrong[f"{place} {step}"] = (device.current, device.factory.answering)
        if plane.receipts[-1].release != release.digest or len(device.agent.outbox):
            wrong[f"{place} {step}, receipt"] = plane.receipts[-1]
        if Home(device.folder).journal_file.exists() or list(Home(device.folder).staging.iterdir()):
            wrong[f"{place} {step}, left"] = list(Home(device.folder).staging.iterdir())
        if not step:
            break
        steps.append(step)
        place, sequence = place + 1, sequence + 1
    assert wrong == {}
    assert len(steps) > 50
    assert {"staged current", "after link current", "after move model.onnx", "received"} <= set(steps)


def test_old_again_whatever_step_of_a_roll_back_it_is_killed_at(device, plane):
    first = make_release(1)
    plane.assign(first, "0")
    device.run().wait(60)
    place, sequence, wrong = 1, 2, {}
    while True:
        release = make_release(sequence, scale=sequence, size=50, behaviour="wrong at its address")
        plane.assign(release, str(sequence))
        device.run(until=lambda device: device.agent.home.journal_file.exists())
        step = update_with_kill(device, plane, release, place)
        if device.current != first.digest or device.factory.answering != [first.digest]:
            wrong[f"{place} {step}"] = (device.current, device.factory.answering)
        if plane.closed.get(str(sequence)) != "rolled_back":
            wrong[f"{place} {step}, status"] = plane.statuses[-1]
        if not step:
            break
        place, sequence = place + 3, sequence + 1
    assert wrong == {}
    assert place > 40


@pytest.mark.parametrize("behaviour", ["", "wrong at its address"])
def test_a_full_disk_at_each_write_of_an_update(device, plane, behaviour):
    """What answers goes on, in the agent and in one that starts anew, and with room again the update does too."""
    first = make_release(1)
    plane.assign(first, "0")
    device.run().wait(60)
    (device.folder / "status.json.new").mkdir()  # nor can the status be written
    place, sequence, before, wrong = 0, 2, first, {}
    while True:
        release = make_release(sequence, scale=sequence, size=50, behaviour=behaviour)
        plane.assign(release, str(sequence))
        device.now += 60
        device.room, device.refused_writes = place, 0
        for _ in range(2):
            device.run(turns=25)
            if not set(device.factory.answering) & {before.digest, release.digest}:
                wrong[f"{place}, full"] = device.factory.answering
            if device.refused_writes:
                device.end()
                device.start()
        is_over = not device.refused_writes
        device.room = None
        device.run().wait(600).wait(60)
        expected = before if behaviour else release
        if device.current != expected.digest or device.factory.answering != [expected.digest]:
            wrong[f"{place}, room again"] = (device.outcome, device.factory.answering)
        if plane.receipts[-1].release != expected.digest or len(device.agent.outbox) or device.agent.disk_errors:
            wrong[f"{place}, reports"] = (plane.statuses[-1], device.agent.disk_errors)
        if is_over:
            break
        before, place, sequence = expected, place + 1, sequence + 1
    assert wrong == {}
    assert place > 15
    assert "disk_failed" in device.events


def test_once_ends_when_the_disk_is_full(device, plane):
    device.run()
    plane.assign(make_release(1), "1")
    device.room = 0
    device.now += 60
    device.run(turns=3)
    assert judge_end(device.agent, most_failures=9) == FAILED


def test_a_version_that_ends_the_machine_each_time_is_given_up(device, plane):
    """Started and killed in its switch again and again: after a few tries the old version comes back."""
    first, second = make_release(1), make_release(2)
    plane.assign(first, "1")
    device.run().wait(60)
    plane.assign(second, "2")
    device.now += 60
    device.run(until=lambda device: device.current == second.digest)
    for _ in range(4):
        device.end()
        device.start()
        device.run(turns=1)
    device.run()
    assert (device.current, device.factory.answering) == (first.digest, [first.digest])
    assert plane.receipts[-1].release == first.digest
