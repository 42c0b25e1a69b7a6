"""Downloads that break off, begin anew, or bring other bytes: what is installed is whole or nothing is."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.agent.plane.transport import PlaneAway, PlaneConnection
from deepseek.agent.storage.disk import Disk
from deepseek.agent.updating.downloads import Downloader
from deepseek.signing.statements import ReleaseFile
from tests.deepseek.agent.plane_double import PlaneDouble
from tests.deepseek.agent.releases import make_key_lists, make_release

CUTS = st.lists(st.integers(0, 3000), max_size=6)


@pytest.fixture(scope="module")
def shared_plane():
    double = PlaneDouble(make_key_lists())
    yield double
    double.close()


def connect(plane):
    connection = PlaneConnection(plane.url)
    connection.token = "dsd_test"
    plane.devices["dsd_test"] = {"id": "1", "name": "x"}
    return connection


@given(content=st.binary(min_size=1, max_size=4000), cuts=CUTS, does_ranges=st.booleans())
def test_cut_at_random_bytes(shared_plane, tmp_path_factory, content, cuts, does_ranges):
    file = ReleaseFile("model.onnx", len(content), hashlib.sha256(content).hexdigest())
    shared_plane.files[file.sha256] = content
    shared_plane.cut_after, shared_plane.does_ranges = list(cuts), does_ranges
    folder = tmp_path_factory.mktemp("download")
    connection = connect(shared_plane)
    downloader = Downloader(connection, folder, Disk())
    for _ in range(len(cuts) + 2):
        try:
            if downloader.fetch_slice((file,)):
                break
        except PlaneAway:
            continue
    connection.close()
    assert (folder / file.name).read_bytes() == content
    assert [path.name for path in folder.iterdir()] == [file.name]


def test_it_goes_on_where_it_stopped(device, plane):
    release = make_release(1, size=50_000)
    plane.assign(release, "1")
    plane.cut_after = [99_999, 20_000]
    device.run()
    device.wait(10)
    assert device.current == release.digest
    assert "bytes=20000-" in plane.ranges


def test_a_flipped_byte_is_fetched_again(device, plane):
    release = make_release(1)
    plane.assign(release, "1")
    file = release.statement.model_file
    whole = plane.files[file.sha256]
    plane.files[file.sha256] = whole[:10] + bytes([whole[10] ^ 1]) + whole[11:]
    device.run(until=lambda device: "download_damaged" in device.events)
    plane.files[file.sha256] = whole
    device.run()
    assert device.current == release.digest


def test_a_file_that_stays_damaged_ends_the_assignment(device, plane):
    release = make_release(1)
    plane.assign(release, "1")
    plane.files[release.statement.model_file.sha256] = b"x" * release.statement.model_file.size
    device.run()
    assert (plane.statuses[-1]["code"], device.current) == ("digest_mismatch", None)
    assert list(device.agent.home.staging.iterdir()) == []


def test_a_file_that_the_plane_does_not_give_ends_the_assignment(device, plane):
    release = make_release(1)
    plane.assign(release, "1")
    del plane.files[release.statement.model_file.sha256]
    device.run()
    assert (plane.statuses[-1]["step"], plane.statuses[-1]["code"]) == ("failed", "not_found")


def test_a_full_disk_ends_the_assignment(device, plane, monkeypatch):
    monkeypatch.setattr("deepseek.agent.updating.downloads.SPARE_BYTES", 1 << 60)
    plane.assign(make_release(1), "1")
    device.run()
    assert (plane.statuses[-1]["code"], device.current) == ("disk_full", None)
