"""Layers that become a folder, and those that would reach out of it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pyarrow
import pytest

from apps.core.errors import PlaneError
from apps.platform.nodes.disks import Disk
from tests.workers.images.builder import LayoutWriter, build_layer
from workers.images.layout import open_layout, read_image
from workers.images.unpack import unpack_layers


class Stopped(Exception):
    pass


@pytest.fixture
def unpack(tmp_path):
    """unpack(path of a layout) -> the root."""

    def run(path: Path, *, limit: int = 10**6, check=lambda: None) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        umask = os.umask(0o077)
        try:
            with open_layout(path) as layout:
                unpack_layers(read_image(layout), layout, root, limit=limit, check=check)
        finally:
            os.umask(umask)
        return root

    return run


def list_tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_layers_are_applied_in_order(write_image, unpack):
    """Whiteouts take away what lies below; an opaque folder keeps what its own layer has, wherever it stands."""
    path = write_image(
        [
            ("etc", None),
            ("etc/old", b"old"),
            ("etc/kept", b"kept"),
            ("opaque/a/b", b"below"),
            ("opaque/c", b"below"),
            ("file", b"a file"),
            ("folder/x", b"x"),
            ("usr/lib/real", b"lib"),
            ("lib", "->", "usr/lib"),
        ],
        [
            ("./etc/.wh.old", b""),
            ("etc/.wh.never", b""),
            ("opaque/a/new", b"own"),
            ("opaque/.wh..wh..opq", b""),
            ("folder", b"now a file"),
            (".wh.file", b""),
            ("lib/added", b"through the link"),
            ("hard", "=", "etc/kept"),
            ("dev/null", "type", tarfile.CHRTYPE),
            ("pipe", "type", tarfile.FIFOTYPE),
        ],
        compress=True,
    )
    root = unpack(path)
    assert list_tree(root) == [
        "dev",
        "etc",
        "etc/kept",
        "folder",
        "hard",
        "lib",
        "opaque",
        "opaque/a",
        "opaque/a/new",
        "usr",
        "usr/lib",
        "usr/lib/added",
        "usr/lib/real",
    ]
    assert {path.stat().st_mode & 0o7777 for path in root.rglob("*")} == {0o755}  # whatever the umask, for every user
    status = (root / "hard").stat()
    assert (status.st_ino, status.st_mode & 0o7777) == ((root / "etc/kept").stat().st_ino, 0o755)
    assert (status.st_mtime, (root / "folder").read_bytes()) == (1_700_000_000, b"now a file")


def test_zstd_is_read(tmp_path, unpack):
    layout = LayoutWriter(tmp_path / "layout")
    layer = build_layer([("a", b"text" * 1000)])
    layout.add_image([pyarrow.compress(layer, codec="zstd", asbytes=True)], kind="+zstd")
    assert (unpack(layout.finish()) / "a").read_bytes() == b"text" * 1000


LINK = ("link", "->", "/")
REFUSED = {
    "name above": [("../escaped", b"x")],
    "name above, inside": [("a/../../escaped", b"x")],
    "hard link above": [("link", "=", "../escaped")],
    "hard link to nothing": [("link", "=", "etc/nothing")],
    "hard link over the folder of its target": [("a/b", b"x"), ("a", "=", "a/b")],
    "hard link to a folder": [("a", None), ("link", "=", "a")],
    "whiteout of the parent": [("a/.wh...", b"")],
    "whiteout of itself": [("a/.wh..", b"")],
    "links in a circle": [("a", "->", "b"), ("b", "->", "a"), ("a/x", b"x")],
    "too deep": [("l", "->", "/".join("a" * 150)), ("l/" + "a/" * 100 + "x", b"x")],
    "below a file": [("a", b"x"), ("a/b", b"x")],
}
CONTAINED = {
    "through an absolute link": [LINK, ("link/escaped", b"x")],
    "through a link above": [("link", "->", "../.."), ("link/escaped", b"x")],
    "through a link above from a folder": [("a/link", "->", "../../../b"), ("a/link/x", b"x"), ("escaped", "=", "b/x")],
    "through links": [("a/b", "->", "/c"), ("c", "->", "a/.."), ("a/b/escaped", b"x")],
    "over a link": [("escaped", "->", "/etc/hostname"), ("escaped", b"x")],
    "absolute name": [("/escaped", b"x")],
    "whiteout through a link": [("escaped", b"x"), LINK, ("link/.wh.other", b"")],
    "hard link to a link": [("a", "->", "/etc/hostname"), ("escaped", "=", "a")],
    "hard link through a link": [LINK, ("x", b"x"), ("escaped", "=", "link/x")],
}


def test_nothing_leads_out_of_the_root(write_image, tmp_path, unpack):
    """What a layer names is refused by its name, or lands inside of the root."""
    (tmp_path / "escaped").write_text("outside")
    (tmp_path / "other").write_text("outside")
    wrong = {}
    for name, entries in {**REFUSED, **CONTAINED}.items():
        before = {path: path.stat().st_ino for path in tmp_path.iterdir() if path.is_file()}
        path = write_image(entries)
        try:
            root, code = unpack(path), ""
            if not os.path.lexists(root / "escaped"):
                wrong[name] = "it is not there"
        except PlaneError as error:
            code = error.code
        if code != ("bad_image" if name in REFUSED else ""):
            wrong[name] = code or "not refused"
        if before != {path: path.stat().st_ino for path in tmp_path.iterdir() if path.is_file()}:
            wrong[name] = "it came out"
        (tmp_path / "root").rename(tmp_path / f"done-{len(wrong)}-{name}")
    assert wrong == {}
    assert (tmp_path / "escaped").read_text() == "outside"


def test_damaged_layer_is_named(write_image, unpack):
    """By its digest, where it cannot be unpacked too."""
    for number, compress in enumerate((False, True)):
        path = write_image([("a", b"x" * 5000), (f"b{number}", b"y" * 5000)], compress=compress)
        blob = max((path / "blobs/sha256").iterdir(), key=lambda file: file.stat().st_size)
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        with pytest.raises(PlaneError) as failure:
            unpack(path)
        assert (failure.value.code, blob.name in str(failure.value)) == ("image_damaged", True), compress


def test_layer_that_is_no_tar_file_is_refused(tmp_path, unpack):
    layout = LayoutWriter(tmp_path / "layout")
    layout.add_image([b"no tar file" * 200])
    with pytest.raises(PlaneError) as failure:
        unpack(layout.finish())
    assert failure.value.code == "bad_image"


def test_what_unpacks_too_large_is_refused(write_image, tmp_path, unpack):
    with pytest.raises(PlaneError) as failure:
        unpack(write_image([("zeros", bytes(3_000_000))], compress=True), limit=2_000_000)
    assert (failure.value.code, failure.value.limit) == ("image_too_large", 2_000_000)


@pytest.mark.parametrize("free", [0, 10**6 + 4096], ids=["before", "meanwhile"])
def test_disk_that_is_short_refuses_the_image(write_image, unpack, monkeypatch, free):
    """Not as `storage_full`, for which the job would wait and fill the disk again."""
    frees = iter([free])
    monkeypatch.setattr("workers.images.unpack.read_disk", lambda name, path: Disk(name, next(frees, 10**6 - 1), 10**9))
    monkeypatch.setattr(Disk, "needed_bytes", 10**6)
    with pytest.raises(PlaneError) as failure:
        unpack(write_image([("a", bytes(100_000))], compress=True))
    assert (failure.value.code, failure.value.limit, frees.__length_hint__()) == ("image_too_large", 0, 0)


def build_header(kind: bytes, size: int, *, extended: bool = False) -> bytes:
    header = tarfile.TarInfo("holes")
    header.type, header.size = kind, size
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482] = extended
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def build_pax_of(data: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return build_header(kind, len(data)) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def build_pax(kind: bytes = tarfile.XHDTYPE, **values: str) -> bytes:
    data = b""
    for name, value in values.items():
        record = f" {name.replace('_', '.')}={value}\n".encode()
        digits = next(digits for digits in (1, 2, 3) if len(str(len(record) + digits)) == digits)
        data += str(len(record) + digits).encode() + record
    return build_pax_of(data, kind)


FILE = build_header(tarfile.REGTYPE, 512)
HEADERS = {
    "sparse of GNU": (build_header(tarfile.GNUTYPE_SPARSE, 512, extended=True), "sparse file"),
    "sparse 0.0": (build_pax(GNU_sparse_size="900000000") + FILE, "sparse file"),
    "sparse 0.1": (build_pax(GNU_sparse_map="0,1") + FILE, "sparse file"),
    "sparse 1.0": (build_pax(GNU_sparse_major="1", GNU_sparse_minor="0") + FILE, "sparse file"),
    "sparse of all files": (build_pax(tarfile.XGLTYPE, GNU_sparse_map="0,1") + FILE, "sparse file"),
    "chain": (build_pax(comment="1234567") * 5000 + FILE, "too long"),
    "long names": (build_header(tarfile.GNUTYPE_LONGNAME, 2 << 20), "too long"),
    "attributes of all files": (build_pax(tarfile.XGLTYPE, **{f"k{n}": "v" for n in range(200)}) + FILE, "too long"),
    "overlapping records": (build_pax_of(b"5 aaa" * 200_000 + b"=\n"), ""),
    "record without an end": (build_pax_of(b"9 a=b\n"), ""),
    "long number": (build_pax(comment="1" * 500) + FILE, ""),
    "negative size": (build_pax(size="-512") + FILE, "too long"),
}


@pytest.mark.parametrize("outer", [False, True], ids=["layer", "layout"])
def test_headers_that_take_memory_are_refused_before_they_are_read(tmp_path, unpack, outer):
    """Tarfile itself would read each of them, and take what follows for the list of parts or the end."""
    wrong = {}
    for name, (headers, words) in HEADERS.items():
        data = headers + b"1\n" * 1_000_000
        layout = LayoutWriter(tmp_path / name)
        layout.add_image([data])
        path = tmp_path / f"{name}.tar" if outer else layout.finish()
        if outer:
            path.write_bytes(data)
        with pytest.raises(PlaneError) as failure:
            unpack(path, limit=10**9)
        if failure.value.code != "bad_image" or words not in str(failure.value):
            wrong[name] = failure.value.first()
    assert wrong == {}


def test_rest_of_a_layer_is_read_with_a_look_at_the_clock(write_image, unpack):
    """A layer may go on after the end of its tar file."""
    layout = LayoutWriter(write_image([]).with_name("long"))
    layout.add_image([build_layer([("a", b"x")]) + bytes(30 << 20)])
    looks = iter(range(20))

    def check() -> None:
        if next(looks, None) is None:
            raise Stopped

    with pytest.raises(Stopped):
        unpack(layout.finish(), limit=10**9, check=check)


def test_layer_of_another_size_is_damaged(layout, unpack):
    layout.add_image([build_layer([("a", b"x")])], sizes=[512])
    with pytest.raises(PlaneError) as failure:
        unpack(layout.finish())
    assert failure.value.code == "image_damaged"
