"""A release that is carried to a device: verified as one that was downloaded, with or without an agent that runs."""

import json
import os
import shutil
import threading

import pytest

from deepseek.agent.storage.home import Home
from deepseek.agent.updating.versions import copy_model
from deepseek.signing.key_lists import SignedKeyList
from deepseek.signing.keys import generate_key
from tests.deepseek.agent.conftest import Device
from tests.deepseek.agent.releases import make_key_lists, make_release

LISTS = make_key_lists()
FINGERPRINT = SignedKeyList.parse(LISTS[0]).content.digest


@pytest.fixture
def install(call_agent, tmp_path):
    """install(folder, *words) -> (exit code, code of the error)."""
    return lambda folder, *words: call_agent("install", folder, "--home", tmp_path / "home", "--watch", "0", *words)


def test_a_device_that_never_had_a_connection(install, tmp_path):
    release = make_release(1)
    folder = release.write(tmp_path / "carried", LISTS)
    assert install(folder) == (2, "no_keys")
    assert install(folder, "--fingerprint", "0" * 64) == (1, "fingerprint_wrong")
    assert Home(tmp_path / "home").read_current() is None
    assert install(folder, "--fingerprint", FINGERPRINT) == (0, "")
    assert Home(tmp_path / "home").read_current() == release.digest
    assert list((tmp_path / "home" / "incoming").iterdir()) == []
    second = make_release(2).write(tmp_path / "second")
    assert install(second) == (0, "")


def test_what_is_refused(install, tmp_path):
    stranger = generate_key()
    newer = make_release(5).write(tmp_path / "newer", LISTS)
    assert install(newer, "--fingerprint", FINGERPRINT) == (0, "")
    flipped = make_release(6).write(tmp_path / "flipped", LISTS)
    (flipped / "model.onnx").write_bytes(b"y" + (flipped / "model.onnx").read_bytes()[1:])
    missing = make_release(6).write(tmp_path / "missing", LISTS)
    (missing / "samples.json").unlink()
    linked = make_release(6).write(tmp_path / "linked", LISTS)
    (linked / "model.onnx").rename(tmp_path / "elsewhere")
    (linked / "model.onnx").symlink_to(tmp_path / "elsewhere")
    longer = make_release(6).write(tmp_path / "longer", LISTS)
    os.truncate(longer / "model.onnx", 1 << 40)
    broken = make_key_lists([stranger], [stranger])
    cases = {
        "digest_mismatch": flipped,
        "folder_wrong": missing,
        "folder_wrong, a link": linked,
        "folder_wrong, another size": longer,
        "downgrade_refused": make_release(4).write(tmp_path / "older", LISTS),
        "key_unknown": make_release(6, key=stranger).write(tmp_path / "stranger", LISTS),
        "keys_chain_broken": make_release(6, key=stranger).write(tmp_path / "chain", [LISTS[0], broken[1]]),
        "health_check_failed": make_release(6, behaviour="wrong").write(tmp_path / "wrong", LISTS),
        "folder_wrong, no folder": tmp_path / "nowhere",
    }
    ends = {code: install(folder) for code, folder in cases.items()}
    assert {code: end for code, end in ends.items() if end[1] != code.partition(",")[0]} == {}
    assert {end[0] for code, end in ends.items() if not code.startswith("folder_wrong")} == {1}
    assert Home(tmp_path / "home").read_current() == json.loads((tmp_path / "home/status.json").read_text())["current"]


def test_a_file_that_grows_while_it_is_copied(tmp_path):
    release = make_release(1)
    folder = release.write(tmp_path / "carried")
    os.truncate(folder / "model.onnx", 1 << 40)
    with pytest.raises(OSError, match=r"model\.onnx has another size"):
        copy_model(folder, tmp_path / "copy", release.statement.files)
    assert (tmp_path / "copy/model.onnx").stat().st_size == release.statement.model_file.size + 1


def test_without_room_nothing_is_copied(install, tmp_path, monkeypatch):
    monkeypatch.setattr("deepseek.agent.updating.downloads.SPARE_BYTES", 1 << 60)
    folder = make_release(1).write(tmp_path / "carried", LISTS)
    assert install(folder, "--fingerprint", FINGERPRINT) == (1, "disk_full")
    assert list((tmp_path / "home/incoming").iterdir()) == []


def test_an_enrolled_device_reports_when_it_is_connected_again(device, plane, install, tmp_path):
    device.run()
    device.agent.close()
    device.agent.home.unlock()
    device.end()
    release = make_release(1)
    assert install(release.write(tmp_path / "carried", LISTS)) == (0, "")
    assert plane.receipts == []
    (waiting,) = (tmp_path / "home/outbox").iterdir()
    assert json.loads(waiting.read_text())["path"] == "/receipts"
    device.start()
    device.run().wait(40)
    assert [(receipt.release, receipt.assignment) for receipt in plane.receipts] == [(release.digest, "")]
    assert plane.heartbeats[-1]["running"] == release.digest


def test_a_device_that_enrols_later_sends_a_receipt_then(plane, install, tmp_path):
    release = make_release(1)
    assert install(release.write(tmp_path / "carried", LISTS), "--fingerprint", FINGERPRINT) == (0, "")
    device = Device(tmp_path / "home", plane)
    device.run().wait(10)
    assert [receipt.release for receipt in plane.receipts] == [release.digest]
    device.agent.close()


def test_the_agent_that_runs_does_it(device, plane, install, tmp_path):
    device.run()
    device.agent.home.lock()
    release, ends = make_release(1), []
    carried = release.write(tmp_path / "carried", LISTS)
    thread = threading.Thread(target=lambda: ends.append(install(carried, "--wait", "20")))
    thread.start()
    while thread.is_alive():
        device.run(turns=1)
        device.now += 1
        thread.join(0.01)
    assert ends == [(0, "")]
    assert (device.current, device.factory.answering) == (release.digest, [release.digest])
    shutil.rmtree(carried)
