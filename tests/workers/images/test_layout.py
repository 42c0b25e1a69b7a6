"""Which image of a layout a node takes, and what it refuses by name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from apps.core.errors import PlaneError
from tests.workers.images.builder import LayoutWriter, build_layer
from workers.images.layout import get_node_platform, open_layout, read_image

LAYER = build_layer([("a", b"text")])
FOREIGN = "linux/mips64"


def read(path):
    with open_layout(path) as layout:
        return read_image(layout)


def pack(folder, path):
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, f"./{file.relative_to(folder)}", recursive=False)
    return path


def test_image_is_read_from_a_folder_and_from_a_tar_file(layout, tmp_path):
    digest = layout.add_image([LAYER], variables=["PATH=/opt/bin", "A=b=c"])
    image = read(layout.finish())
    assert (image.digest, image.platform) == (digest, get_node_platform())
    assert image.environment == {"PATH": "/opt/bin", "A": "b=c"}
    assert [layer.digest for layer in image.layers] == [hashlib.sha256(LAYER).hexdigest()]
    packed = read(pack(layout.folder, tmp_path / "image.tar"))
    assert (packed.digest, packed.layers) == (image.digest, image.layers)


def test_image_of_the_node_is_taken_of_several(layout):
    """Also from an index in the index, beside a record of the build."""
    layout.add_image([LAYER], platform=FOREIGN)
    digest = layout.add_image([build_layer([("b", b"text")])], platform=get_node_platform())
    layout.add_image([build_layer([("c", b"text")])], platform="unknown/unknown")
    inner = json.dumps({"manifests": layout.rows}).encode()
    layout.rows = [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": layout.add_blob(inner)}]
    assert read(layout.finish()).digest == digest


def test_archive_of_an_older_docker_is_read(layout, tmp_path):
    system, _, architecture = get_node_platform().partition("/")
    diff = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
    config = json.dumps({"os": system, "architecture": architecture, "rootfs": {"diff_ids": [diff]}}).encode()
    rows = [{"Config": "c.json", "RepoTags": None, "Layers": ["x/layer.tar"]}]
    with tarfile.open(tmp_path / "saved.tar", "w") as tar:
        for name, data in (("c.json", config), ("x/layer.tar", LAYER), ("manifest.json", json.dumps(rows).encode())):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    image = read(tmp_path / "saved.tar")
    assert image.digest == f"sha256:{hashlib.sha256(config).hexdigest()}"
    with open_layout(image.path) as layout_in_tar:
        assert layout_in_tar.open(image.layers[0].path).read() == LAYER


def damage_config(layout):
    layout.add_image([LAYER])
    config = next(file for file in (layout.folder / "blobs/sha256").iterdir() if b'"Env"' in file.read_bytes())
    config.write_bytes(config.read_bytes().replace(b"linux", b"linuy"))


def lose_layer(layout):
    layout.add_image([LAYER])
    (layout.folder / "blobs/sha256" / hashlib.sha256(LAYER).hexdigest()).unlink()


def add_variables(layout):
    layout.add_image([LAYER], variables=[f"A{number}={'x' * 10_000}" for number in range(7)])


def add_two(layout):
    layout.add_image([LAYER])
    layout.add_image([build_layer([("b", b"text")])])


def add_two_foreign(layout):
    layout.add_image([LAYER], platform=FOREIGN)
    layout.add_image([LAYER], platform="windows/amd64")


REFUSED = {
    "damaged config": (damage_config, "image_damaged", "sha256:"),
    "lost layer": (lose_layer, "bad_image", "a layer is missing"),
    "long variables": (add_variables, "bad_image", "> 65536"),
    "two images": (add_two, "bad_image", "exactly one image"),
    "other machines": (add_two_foreign, "image_platform", "linux/mips64, windows/amd64"),
    "another machine": (lambda layout: layout.add_image([LAYER], platform=FOREIGN), "image_platform", FOREIGN),
    "packing": (lambda layout: layout.add_image([LAYER], kind="+xz"), "bad_image", "tar+xz"),
    "encrypted": (lambda layout: layout.add_image([LAYER], kind="+gzip+encrypted"), "bad_image", "encrypted"),
    "path": (lambda layout: layout.rows.append({"digest": "sha256:../../etc/passwd"}), "bad_image", "no SHA-256"),
    "nothing": (lambda layout: None, "bad_image", "exactly one image"),
    "no layers": (lambda layout: layout.add_image([]), "bad_image", "no layers"),
}


def test_what_cannot_be_used_is_refused_by_name(tmp_path):
    wrong = {}
    for name, (prepare, code, words) in REFUSED.items():
        layout = LayoutWriter(tmp_path / name)
        prepare(layout)
        with pytest.raises(PlaneError) as failure:
            read(layout.finish())
        if failure.value.code != code or words not in str(failure.value) or not failure.value.hint:
            wrong[name] = failure.value.first()
    assert wrong == {}


def test_tar_file_of_too_many_members_is_refused(layout, tmp_path, monkeypatch):
    layout.add_image([LAYER])
    monkeypatch.setattr("workers.images.layout.MAX_MEMBERS", 3)
    with pytest.raises(PlaneError) as failure:
        read(pack(layout.finish(), tmp_path / "image.tar"))
    assert (failure.value.code, "too many entries" in str(failure.value)) == ("bad_image", True)


def test_what_is_no_layout_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 2000)
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder", "gone"):
        with pytest.raises(PlaneError) as failure:
            read(tmp_path / name)
        assert failure.value.code == "bad_image", name
