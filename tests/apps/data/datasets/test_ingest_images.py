"""A folder of images: their table, labels from folders or a manifest, and what is wrong with some of them."""

from __future__ import annotations

import base64
import csv
import io
import struct
import zlib

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.ingest.image_headers import read_image_header
from apps.data.datasets.ingest.local_files import ingest
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import get_main_file
from apps.data.datasets.versions.data_facts import build_image_facts
from apps.platform.artifacts.stores import get_store

pytestmark = pytest.mark.django_db
JPEG = (
    base64.b64decode(
        "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP////////////////////////////////////////////////////////////////////////////"
        "//////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA="
    )
    + b"\xff\xd9"
)


def png(width=3, height=2, grey=False, noise=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = b"\0" + bytes([noise]) * (width * (1 if grey else 3))
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if grey else 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(line * height)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def take(tmp_path, settings, operator, project):
    """take({path: bytes}) -> what an ingest of a folder of these did."""
    settings.PLANE_HOME = tmp_path / "home"
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": ""})

    def run(files):
        folder = tmp_path / f"images{len(list(tmp_path.iterdir()))}"
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return ingest(actor=operator, project=project, dataset_name="cats", path=folder, images=True)

    return run


def rows_of(done):
    digest = done.version.files.get(path="images.csv").artifact_id
    return list(csv.DictReader(io.StringIO(b"".join(get_store().open(digest)).decode())))


def test_labels_and_splits_by_folder(take, operator):
    done = take(
        {"train/cat/1.png": png(), "test/dog/2.jpg": JPEG, "bird/3.png": png(grey=True), "README.txt": b"words"}
    )
    told = {row["path"]: (row["label"], row["split"], row["width"], row["mode"]) for row in rows_of(done)}
    assert told == {
        "train/cat/1.png": ("cat", "train", "3", "RGB"),
        "test/dog/2.jpg": ("dog", "test", "1", "L"),
        "bird/3.png": ("bird", "", "3", "L"),
    }
    assert done.version.params["images"]["classes"] == {"bird": 1, "dog": 1, "cat": 1}
    assert done.version.rows == 3
    assert build_image_facts(done.version).classes == 3  # by which the memory of a training is estimated
    assert get_main_file(operator, done.version).path == "images.csv"  # what a job takes
    kinds = dict(done.version.files.values_list("path", "media_type"))
    assert (kinds["test/dog/2.jpg"], kinds["README.txt"]) == ("image/jpeg", "text/plain")


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_labels_of_a_manifest(take, name):
    text = b"path,label,age\na.png,cat,7\nb/c.png,dog,\n"
    if name.endswith("jsonl"):
        text = b'{"path": "a.png", "label": "cat", "age": 7}\n{"path": "b/c.png", "label": "dog", "age": null}\n'
    done = take({"a.png": png(), "b/c.png": png(4), name: text})
    assert [(row["path"], row["label"], row["age"]) for row in rows_of(done)] == [
        ("a.png", "cat", "7"),
        ("b/c.png", "dog", ""),
    ]
    assert [column["name"] for column in done.version.columns][-1] == "age"


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        (b"path,label\na.png,cat\ngone.png,dog\n", "names gone.png, which is no image"),
        (b"path,label\n", "does not name the image a.png"),
        (b"path,label\na.png,x\na.png,y\n", "names a.png twice"),
        (b"label\ncat\n", "names no path in row 1"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(take, manifest, named):
    with pytest.raises(Invalid, match=named) as caught:
        take({"a.png": png(), "manifest.csv": manifest})
    assert caught.value.code == "bad_image_manifest"
    assert not DatasetVersion.objects.exists()


def test_what_is_wrong_with_images_is_counted(take):
    done = take(
        {
            "a/cut.png": png()[:-8],
            "a/text.jpg": b"no image at all",
            "a/twin.png": png(9),
            "b/twin.png": png(9),
            "b/white.png": png(2000, 2000),
        }
    )
    told = done.version.params["images"]
    assert told["unreadable_paths"] == ["a/cut.png", "a/text.jpg"]
    assert told["duplicate_paths"] == ["b/twin.png"]
    assert told["nearly_empty_paths"] == ["b/white.png"]
    assert told["width"] == [3, 9, 2000]


def test_no_image(take):
    with pytest.raises(Invalid, match="no image"):
        take({"a.txt": b"words"})


def test_the_page_shows_them(take, engineer, web):
    take({"cat/1.png": png(), "dog/2.png": png(5)})
    page = web(engineer).get("/p/demo/data/cats/1/files").content.decode()
    assert '<img src="/api/v1/projects/demo/datasets/cats/versions/1/files/cat/1.png"' in page
    assert "2 images, 2 classes" in page
    sent = web(engineer).get("/api/v1/projects/demo/datasets/cats/versions/1/files/cat/1.png")
    assert (sent.headers["Content-Type"], sent.headers["X-Content-Type-Options"]) == ("image/png", "nosniff")


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"GIF89a" + struct.pack("<HH", 7, 5) + b"\0;", ("image/gif", 7, 5, "P")),
        (b"BM" + struct.pack("<I8xIiiHH", 0, 40, 8, -6, 1, 24), ("image/bmp", 8, 6, "RGB")),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\x09\0\0\x04\0\0", ("image/webp", 10, 5, "RGBA")),
        (
            b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIHHHHI", 256, 3, 1, 12, 0, 257, 4, 1) + struct.pack("<I", 9),
            ("image/tiff", 12, 9, "L"),
        ),
    ],
)
def test_heads(head, told):
    found = read_image_header(head, head[-64:])
    assert found is not None
    assert (found.media_type, found.width, found.height, found.mode) == told


@pytest.mark.parametrize(
    "data", [b"", b"BM", b"RIFF1234WAVE", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0\xff\xff\xff\xff"]
)
def test_heads_of_nonsense_break_nothing(data):
    found = read_image_header(data, data)
    assert found is None or not found.whole or found.width is None
