"""What a folder of images gives to learn from, and which folders are refused."""

import json

import numpy as np
import pytest
from PIL import Image

from deepseek.images.augmentation import prepare_images
from deepseek.images.cache import decode_images
from deepseek.images.decoding import BrokenImage, decode_image
from deepseek.images.examples import read_examples
from deepseek.images.spec import ImageSpec
from deepseek.job import EngineError, Silent
from tests.deepseek.images.conftest import CLASSES, draw_image, fill_folder

SMALL = {"height": 32, "width": 32}


def read(folder, **fields):
    return read_examples(folder, ImageSpec(**(SMALL | fields)), Silent())


def write_manifest(folder, rows, name="manifest.csv"):
    (folder / name).write_text("".join(f"{','.join(row)}\n" for row in [("path", "label", "split"), *rows]))


def list_rows(folder, split=lambda number: ""):
    return [
        (f"{kind}/{path.name}", kind, split(int(path.stem))) for kind in CLASSES for path in (folder / kind).iterdir()
    ]


def test_folders_are_classes_and_each_part_has_its_share(images):
    examples = read(images)
    assert examples.classes == list(CLASSES)
    sizes = [len(part) for part in (examples.parts.training, examples.parts.validation, examples.parts.test)]
    assert (examples.pixels.shape, sizes) == ((30, 3, 32, 32), [22, 4, 4])
    assert read(images).digest == examples.digest
    assert read(images, seed=1).parts.test.tolist() != examples.parts.test.tolist()


def test_a_manifest_labels_and_splits(images):
    parts = {0: "test", 1: "val", 2: "validation"}
    write_manifest(images, list_rows(images, lambda number: parts.get(number, "train")))
    examples = read(images)
    assert [examples.paths[row] for row in examples.parts.test] == [f"{kind}/0.png" for kind in CLASSES]
    assert len(examples.parts.validation) == 6
    write_manifest(images, list_rows(images, lambda number: "test" if number < 2 else ""))
    examples = read(images)
    assert (len(examples.parts.training), len(examples.parts.validation), len(examples.parts.test)) == (20, 4, 6)


def test_a_table_of_a_version_comes_first_and_images_without_label_are_left_out(images):
    rows = list_rows(images)
    write_manifest(images, [(path, label if place else "", split) for place, (path, label, split) in enumerate(rows)])
    (images / "manifest.csv").rename(images / "images.csv")
    (images / "manifest.jsonl").write_text("no JSON")
    examples = read(images)
    assert (len(examples.paths), examples.left_out) == (29, 1)
    assert "1 images have no label" in examples.warnings[0]


def test_broken_images_are_named_and_left_out(images):
    (images / "dark/0.png").write_bytes((images / "dark/0.png").read_bytes()[:200])
    (images / "dark/1.png").write_text("text")
    examples = read(images)
    assert (len(examples.paths), examples.left_out) == (30, 2)
    assert "dark/0.png (" in examples.warnings[0]
    assert "dark/1.png (none of PNG" in examples.warnings[0]
    learned = np.concatenate([examples.parts.training, examples.parts.validation, examples.parts.test])
    assert not {"dark/0.png", "dark/1.png"} & {examples.paths[row] for row in learned}


def break_images(folder, count):
    for number in range(count):
        (folder / f"dark/{number}.png").write_bytes(b"")


def keep_one_class(folder):
    write_manifest(folder, [(path, "same", "") for path, _, _ in list_rows(folder)])


def hide_class(folder):
    write_manifest(folder, list_rows(folder, lambda number: "test" if number < 5 else "train")[:-10])
    rows = list_rows(folder)
    write_manifest(folder, [(path, kind, "test" if kind == "dark" else "train") for path, kind, _ in rows])


@pytest.mark.parametrize(
    ("change", "fields", "code", "value"),
    [
        (lambda f: break_images(f, 1), {"on_broken": "fail"}, "image_broken", "dark/0.png"),
        (lambda f: break_images(f, 4), {}, "too_many_broken", "dark/0.png, dark/1.png"),
        (keep_one_class, {}, "too_few_classes", "same"),
        (hide_class, {}, "label_only_in_test", "'dark'"),
        (lambda f: None, {"classes": ["dark", "bright"]}, "class_unknown", "striped"),
        (lambda f: write_manifest(f, list_rows(f)[:3] + list_rows(f)[-3:]), {}, "too_few_rows", "6"),
        (lambda f: write_manifest(f, [("dark/99.png", "dark", "")]), {}, "image_missing", "dark/99.png"),
        (lambda f: write_manifest(f, [("../secret.png", "dark", "")]), {}, "bad_image_manifest", "manifest.csv"),
        (lambda f: write_manifest(f, [("/etc/passwd", "dark", "")]), {}, "bad_image_manifest", "manifest.csv"),
        (lambda f: write_manifest(f, [("dark/1.png", "dark", "")] * 2), {}, "bad_image_manifest", "manifest.csv"),
        (lambda f: write_manifest(f, [("dark/1.png", "dark", "later")]), {}, "bad_image_manifest", "manifest.csv"),
        (lambda f: (f / "manifest.jsonl").write_text(json.dumps([1])), {}, "bad_image_manifest", "manifest.jsonl"),
    ],
)
def test_a_folder_that_cannot_be_learned_from(images, change, fields, code, value):
    change(images)
    with pytest.raises(EngineError) as refused:
        read(images, **fields)
    assert (refused.value.code, refused.value.field) == (code, "inputs/images")
    assert refused.value.value.startswith(value)
    assert refused.value.hint


def test_no_folder_and_no_image(tmp_path):
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(EngineError) as refused:
            read(folder)
        assert refused.value.code == "no_images"


def test_a_class_with_one_image_is_learned_from(images):
    fill_folder(images, 1)
    (images / "rare").mkdir()
    Image.fromarray(draw_image("dark", 99)).save(images / "rare/1.png")
    examples = read(images)
    assert examples.target[examples.parts.training].tolist().count(examples.classes.index("rare")) == 1
    assert "Of rare there is one image only" in examples.warnings[0]


def encode(image, kind="PNG", **more):
    from io import BytesIO

    out = BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def test_every_kind_of_image_becomes_rgb():
    grey16 = Image.fromarray(np.full((40, 40), 0x8000, np.uint16))
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    turned = Image.new("RGB", (64, 32))
    turned.paste("red", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    cases = {
        "L": (encode(Image.new("L", (40, 20), 7)), [7, 7, 7]),
        "16 bits": (encode(grey16), [128, 128, 128]),
        "transparent": (encode(clear), [255, 255, 255]),
        "palette": (encode(Image.new("RGB", (40, 40), "lime").convert("P"), "GIF"), [0, 255, 0]),
        "CMYK": (encode(Image.new("CMYK", (40, 40), (0, 0, 0, 0)), "JPEG"), [255, 255, 255]),
    }
    found = {name: decode_image(data, 32, 32)[:, 16, 16].tolist() for name, (data, _) in cases.items()}
    assert found == {name: pixel for name, (_, pixel) in cases.items()}
    upright = decode_image(encode(turned, "PNG", exif=exif), 64, 32)
    assert upright[:, 5, 16].tolist() == [255, 0, 0]
    assert upright[:, 60, 16].tolist() == [0, 0, 0]


def test_what_is_too_large_is_not_decoded(monkeypatch):
    bomb = encode(Image.new("1", (11_000, 10_000)))
    assert len(bomb) < 100_000
    with pytest.raises(BrokenImage):
        decode_image(bomb, 32, 32)
    monkeypatch.setattr("deepseek.images.decoding.MOST_BYTES", 10)
    with pytest.raises(BrokenImage):
        decode_image(b"x" * 11, 32, 32)


def test_the_cache_is_the_same_in_memory_and_on_disk(images):
    paths = [f"dark/{number}.png" for number in range(10)]
    memory, disk = (
        decode_images(images, paths, 32, 32, most_bytes=most, threads=2, advance=lambda done: None)
        for most in (10**9, 0)
    )
    assert isinstance(disk.pixels, np.memmap)
    assert np.array_equal(memory.pixels, disk.pixels)
    assert memory.digests == disk.digests


def test_augmentation_follows_from_seed_epoch_and_image():
    import torch

    pixels = torch.from_numpy(np.stack([draw_image("striped", n, 32, 32).transpose(2, 0, 1) for n in range(6)]))
    every = ["flip", "crop", "color"]
    first = prepare_images(pixels, every, 0, 3, [4, 1])
    assert torch.equal(first.flip(0), prepare_images(pixels, every, 0, 3, [1, 4]))
    assert (first.shape, first.dtype) == ((2, 3, 32, 32), torch.uint8)
    for seed, epoch in ((1, 3), (0, 4)):
        assert not torch.equal(first, prepare_images(pixels, every, seed, epoch, [4, 1]))
    assert torch.equal(prepare_images(pixels, [], 0, 3, [4, 1]), pixels[[4, 1]])
