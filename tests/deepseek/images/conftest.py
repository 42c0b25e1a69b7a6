"""Folders of small images that numpy draws, and one call to train on them."""

import numpy as np
import pytest
from PIL import Image

from deepseek.images.run import run
from deepseek.images.spec import ImageSpec
from deepseek.job import Silent
from deepseek.models.manifest import ModelManifest
from tests.deepseek.conftest import Recorder

SCHEDULE = {"warmup_steps": 4, "first_batch": 8, "last_batch": 16, "max_lr": 0.003}
QUICK = {"backbone": "mobilenet_v3_small", "height": 32, "width": 32, "epochs": 2, "schedule": SCHEDULE}
CLASSES = ("bright", "dark", "striped")


def draw_image(kind, number, height=36, width=44):
    """An image that is dark, bright or striped, (height, width, 3) uint8."""
    draw = np.random.default_rng((CLASSES.index(kind), number))
    pixels = draw.integers(0, 80, (height, width, 3)).astype(np.uint8)
    if kind == "bright":
        pixels += 150
    if kind == "striped":
        pixels[::4] = 250
    return pixels


def fill_folder(folder, count=10, kinds=CLASSES):
    """A folder for each class, with so many images."""
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(draw_image(kind, number)).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture
def images(tmp_path):
    return fill_folder(tmp_path / "images")


@pytest.fixture
def train(tmp_path):
    """Train quickly: `train(folder, out="out", **fields of the spec)`."""
    return lambda folder, out="out", **fields: train_to(tmp_path / out, folder, **fields)


def train_to(out, folder, report=None, inputs=None, **fields):
    spec = ImageSpec(**(QUICK | fields))
    return run(spec, inputs={"images": folder} | (inputs or {}), out=out, report=report or Silent())


class Trained:
    """A training of a few epochs, whose outputs several tests look at."""

    def __init__(self, folder):
        self.folder, self.out, self.report = fill_folder(folder / "images", 14), folder / "out", Recorder()
        self.result = train_to(self.out, self.folder, self.report, epochs=8, cache_megabytes=0)
        self.manifest = ModelManifest.read(self.out / "model.json")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("trained"))
