"""An update from the assignment to the receipt, and how one ends that goes wrong."""

from dataclasses import replace

import pytest

from deepseek.agent.storage.home import Home
from deepseek.agent.updating import versions
from deepseek.signing.key_lists import RevokedKey
from deepseek.signing.keys import compute_key_id, generate_key
from deepseek.signing.statements import RELEASE_TYPE
from tests.deepseek.agent.releases import AT, KEY, make_key_lists, make_release, sign_payload

STEPS = ["downloading", "verifying", "installing", "checking", "switching"]


def install(device, plane, release, assignment):
    """Assign a release and let the device install and watch it."""
    plane.assign(release, assignment)
    return device.run().wait(60)


def list_versions(device):
    return {folder.name for folder in Home(device.folder).versions.iterdir()}


def test_a_release_is_installed_and_reported_by_the_running_version(device, plane):
    release = make_release(1)
    plane.assign(release, "7")
    device.run()
    assert device.current == release.digest
    assert device.factory.answering == [release.digest]
    assert plane.steps == STEPS
    (receipt,) = plane.receipts
    assert (receipt.assignment, receipt.release, receipt.health.rows) == ("7", release.digest, 2)
    assert receipt.variant == release.statement.model_file.sha256
    assert (plane.heartbeats[-1]["running"], plane.heartbeats[-1]["health"]) == (release.digest, "healthy")


def test_the_next_release_takes_over_and_the_one_before_is_kept(device, plane):
    first, second, third = (make_release(sequence) for sequence in (1, 2, 3))
    install(device, plane, first, "1")
    install(device, plane, second, "2")
    assert (device.factory.answering, list_versions(device)) == ([second.digest], {first.digest, second.digest})
    install(device, plane, third, "3")
    assert (device.factory.answering, list_versions(device)) == ([third.digest], {second.digest, third.digest})
    assert [receipt.counter for receipt in plane.receipts] == [1, 2, 3]


@pytest.mark.parametrize("behaviour", ["", "wrong at its address"])
def test_no_heartbeat_names_a_version_before_its_receipt(device, plane, behaviour):
    """Neither after a good update nor after one that is rolled back."""
    running, wrong = [], []

    def observe(step):
        receipts = [receipt.release for receipt in plane.receipts]
        for heartbeat in plane.heartbeats[len(running) :]:
            running.append(heartbeat["running"])
            if heartbeat["running"] not in (None, *receipts[-1:]):
                wrong.append((heartbeat, receipts))

    device.observe = observe
    first, second = make_release(1), make_release(2, behaviour=behaviour)
    install(device, plane, first, "1")
    install(device, plane, second, "2")
    observe("")
    assert wrong == []
    assert running[-1] == (first if behaviour else second).digest


def test_the_running_release_assigned_again_only_sends_a_receipt(device, plane):
    release = make_release(1)
    install(device, plane, release, "1")
    before = plane.requests["GET /files"]
    install(device, plane, release, "2")
    assert [receipt.assignment for receipt in plane.receipts] == ["1", "2"]
    assert (plane.requests["GET /files"], len(device.factory.public)) == (before, 1)


def test_a_damaged_version_is_replaced_by_files_that_are_synced(device, plane, monkeypatch):
    release = make_release(1)
    install(device, plane, release, "1")
    path = Home(device.folder).get_version_folder(release.digest) / "model/model.onnx"
    path.unlink()  # other folders may share the file
    path.write_bytes(b"damaged")
    steps = []
    monkeypatch.setattr(versions, "sync_tree", lambda folder: steps.append(f"synced {folder.parent.name}"))
    device.observe = steps.append
    install(device, plane, release, "2")
    assert path.read_bytes() == release.contents["model.onnx"]
    moves = [step for step in steps if step in ("synced staging", "after move model.onnx")]
    assert moves == ["after move model.onnx", "synced staging", "after move model.onnx"]  # downloaded, installed


def test_an_older_variant_in_a_new_release_is_not_downloaded_again(device, plane):
    install(device, plane, make_release(1, scale=2.0), "1")
    install(device, plane, make_release(2, scale=3.0), "2")
    before = plane.requests["GET /files"]
    again = make_release(3, scale=2.0)
    install(device, plane, again, "3")
    assert (device.current, plane.requests["GET /files"]) == (again.digest, before)


def test_what_speaks_against_a_release(device, plane):
    """Each is refused before anything is downloaded, with its code, and the old version goes on."""
    running = make_release(5)
    install(device, plane, running, "1")
    stranger, revoked_key, revoked = generate_key(), generate_key(), make_release(6)
    at = {"revoked_releases": (revoked.digest,), "revoked": (make_revoked(revoked_key),)}
    plane.set_poll(key_lists=make_key_lists([KEY], ([KEY], at)))
    flipped = make_release(7)
    flipped = replace(flipped, document={**flipped.document, "payload": make_release(8).document["payload"]})
    garbage = replace(running, document=sign_payload(b"{}", RELEASE_TYPE))
    cases = {
        "key_unknown": make_release(7, key=stranger),
        "key_revoked": make_release(7, key=revoked_key),
        "release_revoked": revoked,
        "signature_wrong": flipped,
        "document_malformed": garbage,
        "architecture_wrong": make_release(7, architecture="aarch64"),
        "project_wrong": make_release(7, project="other"),
        "downgrade_refused": make_release(4),
    }
    before, wrong = plane.requests["GET /files"], {}
    for code, release in cases.items():
        plane.assign(release, code)
        device.wait(60)
        status = plane.statuses[-1]
        if (status["assignment"], status["step"], status["code"]) != (code, "failed", code):
            wrong[code] = status
    assert wrong == {}
    assert (device.factory.answering, plane.requests["GET /files"]) == ([running.digest], before)


def make_revoked(key):
    return RevokedKey(compute_key_id(key.public_key), AT, "lost")


def test_a_broken_chain_of_keys_ends_the_assignment(device, plane):
    stranger = generate_key()
    plane.key_lists = [*make_key_lists(), make_key_lists([stranger], [stranger])[1]]
    device.start().trust.accept({"version": 1, "lists": plane.key_lists[:1]})
    plane.key_lists = make_key_lists()
    device.run()
    plane.assign(make_release(1, key=stranger), "1")
    plane.key_lists = [*make_key_lists(), make_key_lists([stranger], [stranger])[1]]
    device.wait(60)
    assert (plane.statuses[-1]["code"], device.current) == ("keys_chain_broken", None)
    assert device.agent.trust.version == 1


def test_a_rotated_key_is_followed(device, plane):
    device.run()
    fresh = generate_key()
    plane.key_lists = make_key_lists([KEY], [fresh, KEY], [fresh])
    release = make_release(1, key=fresh)
    install(device, plane, release, "1")
    assert (device.current, device.agent.trust.version) == (release.digest, 3)


@pytest.mark.parametrize("is_enrolled", [False, True])
def test_lists_of_keys_come_in_several_answers(device, plane, is_enrolled):
    """Also with an enrolment, which brings the first ones."""
    plane.keys_per_answer, fresh = 2, generate_key()
    if is_enrolled:
        device.run()
    plane.key_lists = make_key_lists([KEY], [KEY], [fresh, KEY], [fresh], [fresh])
    release = make_release(1, key=fresh)
    install(device, plane, release, "1")
    assert (device.current, device.agent.trust.version) == (release.digest, 5)
    assert plane.requests["GET /keys"] == 2


def test_a_plane_that_gives_not_all_lists_is_asked_again(device, plane):
    """What it gave is kept; nothing is installed by keys that may be revoked since."""
    device.run()
    release = make_release(1)
    plane.key_lists = make_key_lists([KEY], [KEY], [KEY])
    plane.keys_per_answer = 0
    plane.assign(release, "1")
    device.wait(61)
    assert (device.agent.trust.version, device.current, plane.requests["GET /keys"]) == (1, None, 1)
    plane.keys_per_answer = 1
    device.wait(61)
    assert (device.agent.trust.version, device.current) == (3, release.digest)


@pytest.mark.parametrize("behaviour", ["dies", "wrong", "never ready"])
def test_a_version_that_fails_its_check_is_not_switched_to(device, plane, behaviour):
    running = make_release(1)
    install(device, plane, running, "1")
    plane.assign(make_release(2, behaviour=behaviour), "2")
    device.wait(60)
    device.wait(301)
    status = plane.statuses[-1]
    assert (status["assignment"], status["step"], status["code"]) == ("2", "failed", "health_check_failed")
    assert (device.current, device.factory.answering) == (running.digest, [running.digest])
    assert list_versions(device) == {running.digest}


@pytest.mark.parametrize("behaviour", ["dies at its address", "wrong at its address"])
def test_a_version_that_fails_at_its_address_is_rolled_back(device, plane, behaviour):
    running = make_release(1)
    install(device, plane, running, "1")
    install(device, plane, make_release(2, behaviour=behaviour), "2")
    assert (device.current, device.factory.answering) == (running.digest, [running.digest])
    assert (plane.statuses[-1]["step"], plane.receipts[-1].release) == ("rolled_back", running.digest)
    assert (plane.receipts[-1].assignment, device.outcome[0]) == ("1", "rolled_back")


def test_a_version_that_dies_while_it_is_watched_is_rolled_back(device, plane):
    running, failing = make_release(1), make_release(2)
    install(device, plane, running, "1")
    plane.assign(failing, "2")
    device.now += 60
    device.run(until=lambda device: plane.receipts[-1].release == failing.digest)
    device.factory.public[-1].ended = True
    device.run()
    assert device.factory.answering == [running.digest]
    assert [receipt.release for receipt in plane.receipts] == [running.digest, failing.digest, running.digest]
    assert plane.statuses[-1]["code"] == "server_failed"


def test_the_first_version_that_fails_leaves_none(device, plane):
    plane.assign(make_release(1, behaviour="dies at its address"), "1")
    device.run()
    assert (device.current, device.factory.answering, list_versions(device)) == (None, [], set())
    assert plane.statuses[-1]["step"] == "rolled_back"


@pytest.mark.parametrize("revoked", ["the release", "its key"])
def test_a_revoked_version_is_not_gone_back_to(device, plane, revoked):
    running, fresh = make_release(1), generate_key()
    install(device, plane, running, "1")
    at = {"revoked_releases": (running.digest,)} if revoked == "the release" else {"revoked": (make_revoked(KEY),)}
    plane.key_lists = make_key_lists([KEY], ([fresh], at))
    install(device, plane, make_release(2, key=fresh, behaviour="dies at its address"), "2")
    assert (device.current, device.factory.answering) == (None, [])
    assert "fallback_refused" in device.events


@pytest.mark.parametrize("damage", ["{", "[]", None])
def test_a_damaged_version_is_not_gone_back_to(device, plane, damage):
    running = make_release(1)
    install(device, plane, running, "1")
    path = Home(device.folder).get_version_folder(running.digest) / "release.json"
    path.write_text(damage) if damage else path.unlink()
    install(device, plane, make_release(2, behaviour="dies at its address"), "2")
    assert (device.current, device.factory.answering, device.outcome[0]) == (None, [], "rolled_back")
    assert "version before cannot be used" in plane.statuses[-1]["message"]


def test_a_damaged_version_does_not_end_an_agent_that_starts(device, plane):
    release = make_release(1)
    install(device, plane, release, "1")
    device.end()
    (Home(device.folder).get_version_folder(release.digest) / "release.json").write_text("{")
    device.start()
    device.run()
    assert (device.factory.answering, device.events[-1]) == ([], "version_damaged")
    install(device, plane, make_release(2), "2")
    assert device.outcome == ("running", "")


def test_a_server_that_dies_later_is_started_again(device, plane):
    release = make_release(1)
    install(device, plane, release, "1")
    device.factory.public[-1].ended = True
    device.wait(5)
    assert device.factory.answering == [release.digest]
    assert device.outcome == ("running", "")


def test_a_silent_server_is_replaced(device, plane):
    release = make_release(1)
    install(device, plane, release, "1")
    silent = device.factory.public[-1]
    silent.is_silent = True
    for _ in range(5):
        device.wait(11)
    assert silent.ended
    assert device.factory.answering == [release.digest]


def test_an_assignment_is_cancelled_or_replaced_before_the_switch(device, plane):
    release = make_release(1, behaviour="never ready")
    plane.assign(release, "1")
    device.run(until=lambda device: device.agent.updater.journal.update is not None)
    device.run(turns=8)
    plane.set_poll(assignment={**plane.assignment, "action": "cancel"})
    device.wait(80)
    assert (plane.closed, device.current) == ({"1": "cancelled"}, None)
    plane.assign(make_release(2, behaviour="never ready"), "2")
    device.wait(80)
    better = make_release(3)
    plane.assign(better, "3")
    device.wait(80)
    assert (plane.closed["2"], device.current) == ("cancelled", better.digest)


def test_a_quarantined_device_installs_nothing(device, plane):
    plane.assign(make_release(1), "1")
    plane.set_poll(state="quarantined")
    device.run()
    assert (device.current, device.agent.session.state) == (None, "quarantined")
