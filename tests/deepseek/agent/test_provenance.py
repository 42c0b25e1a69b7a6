"""A device installs a release only with the provenance that it names."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deepseek.agent.storage.home import Home
from deepseek.signing.key_lists import SignedKeyList
from deepseek.signing.keys import generate_key
from tests.deepseek.agent.conftest import Device
from tests.deepseek.agent.releases import make_key_lists, make_proven_release, make_provenance, make_release


def test_a_proven_release_is_installed_and_keeps_its_provenance(device, plane):
    release = make_proven_release()
    plane.assign(release)
    device.run()
    assert (device.current, len(plane.receipts)) == (release.digest, 1)
    folder = Home(device.folder).get_version_folder(release.digest)
    assert json.loads((folder / "provenance.json").read_text()) == release.provenance


def test_what_is_refused(device, plane):
    first, proven = make_release(1), make_proven_release(2)
    plane.assign(first, "0")
    device.run().wait(60)
    before = plane.requests["GET /files"]
    cells = {
        "provenance_missing": None,
        "provenance_wrong": make_provenance(make_release(3, scale=3.0)).to_document(),
        "key_unknown": make_provenance(make_release(2), key=generate_key()).to_document(),
        "signature_wrong": {
            **proven.provenance,
            "signatures": make_proven_release(3, scale=3.0).provenance["signatures"],
        },
        "document_malformed": proven.document,
    }
    ends = {}
    for code, provenance in cells.items():
        plane.assign(replace(proven, provenance=provenance), code)
        device.run().wait(60)
        ends[code] = device.outcome
    assert ends == {code: ("refused", code) for code in cells}
    assert (device.current, plane.requests["GET /files"]) == (first.digest, before)


def test_a_device_may_require_it_of_every_release(tmp_path, plane):
    strict = Device(tmp_path / "strict", plane, is_provenance_required=True)
    plane.assign(make_release(1), "1")
    strict.run()
    assert strict.outcome == ("refused", "provenance_missing")
    release = make_proven_release(2)
    plane.assign(release, "2")
    strict.wait(60)
    assert strict.current == release.digest
    strict.agent.close()


def test_it_is_verified_again_once_the_files_are_here(device, plane):
    """What lies in the journal is on a disk that somebody else may write to."""
    release = make_proven_release()
    plane.assign(release)
    device.run(until=lambda device: device.agent.updater.journal.update is not None)
    journal = device.agent.updater.journal
    journal.write(replace(journal.update, provenance=None))
    device.run()
    assert (device.current, device.outcome) == (None, ("failed", "provenance_missing"))


@pytest.mark.parametrize(("words", "end"), [((), (0, "")), (("--require-provenance",), (1, "provenance_missing"))])
def test_a_carried_release_from_before(call_agent, tmp_path, words, end):
    lists = make_key_lists()
    folder = make_release(1).write(tmp_path / "carried", lists)
    words = ("--fingerprint", SignedKeyList.parse(lists[0]).content.digest, *words)
    assert call_agent("install", folder, "--home", tmp_path / "home", "--watch", "0", *words) == end


def test_a_carried_release_needs_it_beside(call_agent, tmp_path):
    lists = make_key_lists()
    fingerprint = SignedKeyList.parse(lists[0]).content.digest
    ends = []
    for name, provenance in (("without", None), ("garbage", {}), ("whole", make_proven_release().provenance)):
        release = replace(make_proven_release(), provenance=provenance)
        folder = release.write(tmp_path / name, lists)
        words = ("--home", tmp_path / "home", "--watch", "0", "--fingerprint", fingerprint)
        ends.append(call_agent("install", folder, *words)[1])
    assert ends == ["provenance_missing", "document_malformed", ""]
