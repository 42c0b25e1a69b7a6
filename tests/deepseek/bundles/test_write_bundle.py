"""Bundles are written volume by volume, resumed, and of objects larger than a volume."""

import os
import signal
import subprocess
import sys

import pytest

from deepseek.bundles.errors import TransferError
from deepseek.bundles.extraction import extract_volume, join_parts
from deepseek.bundles.spec import MANIFEST_FILE, Content, ObjectRef
from deepseek.bundles.verification import verify_bundle
from deepseek.bundles.volumes import plan_volumes
from deepseek.bundles.writer import write_bundle
from tests.deepseek.bundles.conftest import Objects, build_head


def test_no_volume_is_larger_than_asked_for():
    sizes = [0, 1, 511, 512, 513, 100_000, 1_040_000, 1_048_576, 5_000_000, 10, 900_000, 900_000]
    refs = [ObjectRef(f"{place:064x}", size) for place, size in enumerate(sizes)]
    volumes = plan_volumes(refs, 1 << 20)
    for volume in volumes:
        assert sum(512 + each.size + -each.size % 512 + 300 for each in volume) + 4096 <= 1 << 20
    got = {}
    for each in (each for volume in volumes for each in volume):
        assert each.offset == got.get(each.object.digest, 0)
        got[each.object.digest] = each.offset + each.size
    assert list(got.values()) == sizes


def test_no_volume_has_more_parts_than_a_reader_takes(monkeypatch):
    monkeypatch.setattr("deepseek.bundles.volumes.MAX_PARTS", 3)
    monkeypatch.setattr("deepseek.bundles.volumes.PART_BYTES", 1024)
    refs = [ObjectRef(f"{place:064x}", size) for place, size in enumerate((1, 0, 5000, 0, 1))]
    assert [len(volume) for volume in plan_volumes(refs, 1 << 20)] == [3, 3, 3]


def test_a_build_goes_on_behind_the_last_whole_volume(tmp_path):
    objects = Objects((600_000, 600_000, 600_000))
    head, refs = build_head(objects.refs), objects.refs

    def stop(digest, start, end):
        if digest == refs[2].digest:
            raise KeyboardInterrupt
        return objects.open(digest, start, end)

    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path, head, refs, stop, volume_bytes=1 << 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["volume-0001.tar", "volume-0002.tar"]
    objects.opened.clear()
    write_bundle(tmp_path, head, refs, objects.open, volume_bytes=1 << 20)
    assert objects.opened == [refs[2].digest]
    assert verify_bundle(tmp_path).objects == 3


def test_a_killed_build_leaves_whole_volumes_only(tmp_path):
    """kill -9 in the middle of the second volume; then the same build again."""
    program = (
        "import hashlib, os, signal, sys; from pathlib import Path\n"
        "from tests.deepseek.bundles.conftest import build_head\n"
        "from deepseek.bundles.spec import ObjectRef; from deepseek.bundles.writer import write_bundle\n"
        "data = {hashlib.sha256(b).hexdigest(): b for b in (b'a' * 600000, b'b' * 600000)}\n"
        "refs = [ObjectRef(d, len(b)) for d, b in data.items()]\n"
        "def read(digest, start, end):\n"
        "    yield data[digest][:1000]\n"
        "    if sys.argv[2] == 'kill' and digest == refs[1].digest: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    yield data[digest][1000:]\n"
        "write_bundle(Path(sys.argv[1]), build_head(refs), refs, read, volume_bytes=1 << 20)\n"
    )

    def run(word):
        return subprocess.run([sys.executable, "-c", program, tmp_path, word], cwd=os.getcwd()).returncode

    assert run("kill") == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob("*.tar")] == ["volume-0001.tar"]
    assert not (tmp_path / MANIFEST_FILE).exists()
    assert run("go on") == 0
    assert verify_bundle(tmp_path).objects == 2


def test_bytes_that_are_not_their_digest_are_refused(tmp_path):
    refs = Objects((1000,)).refs
    head = build_head(refs * 2)
    for wrong in (b"x" * 1000, b"x" * 999, b"x" * 1001):
        with pytest.raises(TransferError) as caught:
            write_bundle(tmp_path, head, refs, lambda *_, data=wrong: [data], volume_bytes=1 << 20)
        assert caught.value.code == "object_damaged"
    assert list(tmp_path.iterdir()) == []


def test_a_volume_size_out_of_range_is_refused(tmp_path):
    with pytest.raises(TransferError) as caught:
        write_bundle(tmp_path, build_head(Objects((1, 2)).refs), [], lambda *_: [], volume_bytes=1000)
    assert caught.value.code == "volume_bytes_out_of_range"


def test_volumes_are_extracted_in_any_order(bundle, stored_objects, tmp_path):
    folder, manifest = bundle
    out = tmp_path / "objects"
    for volume in reversed(manifest.volumes):
        extract_volume(folder / volume.name, volume, manifest.head.id, out)
        extract_volume(folder / volume.name, volume, manifest.head.id, out)  # the same again changes nothing
    for digest in stored_objects.data:
        join_parts(out, digest)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == stored_objects.data


def test_an_object_of_which_a_part_is_missing_is_not_joined(bundle, stored_objects, tmp_path):
    folder, manifest = bundle
    out = tmp_path / "objects"
    for volume in manifest.volumes[:-1]:
        extract_volume(folder / volume.name, volume, manifest.head.id, out)
    largest = max(stored_objects.refs, key=lambda ref: ref.size)
    with pytest.raises(TransferError) as caught:
        join_parts(out, largest.digest)
    assert caught.value.code == "object_damaged"


def test_a_manifest_that_nobody_would_take_is_refused_before_a_volume_is_written(stored_objects, tmp_path):
    long = build_head(stored_objects.refs, contents=(Content("run", "\u4e2d" * 400, "1" * 64),) * 2000)
    with pytest.raises(TransferError) as caught:
        write_bundle(tmp_path / "bundle", long, stored_objects.refs, stored_objects.open, volume_bytes=1 << 20)
    assert caught.value.code == "manifest_too_long"
    assert not (tmp_path / "bundle").exists()
