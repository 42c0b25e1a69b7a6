"""Small models of each family, made without training, and one call to export them."""

import pytest
import torch
from torchvision.models.resnet import BasicBlock, ResNet

from deepseek.export.run import run
from deepseek.export.spec import ExportSpec
from deepseek.images import network as image_networks
from deepseek.job import Silent
from deepseek.models.folder import find_model_files
from deepseek.models.manifest import EntitiesArchitecture, ImageArchitecture, MlpArchitecture
from deepseek.models.network import build_network, save_network

WORDS = [f"word{number}" for number in range(20)]
LABELS = ["PER", "ORG"]
ASSETS = {"tokenizer": 1, "vocabulary": WORDS, "labels": LABELS, "continuation": [0.5, 0.5]}
TABLE = MlpArchitecture(
    inputs=3,
    hidden=[8],
    outputs=2,
    activation="relu",
    output="probabilities",
    embeddings=[{"count": 3, "width": 2}],
)
CATEGORIES = {"color": ["blue", "red"]}
IMAGE = ImageArchitecture(backbone="resnet18", height=32, width=32, outputs=2)
ENTITIES = EntitiesArchitecture(labels=LABELS, words=20, buckets=64, max_length=32, width=16, layers=1, heads=2)
CLASSIFIED = {"task": "classification", "target": "y", "classes": ["no", "yes"]}
TAGGED = {"task": "entities", "target": "spans", "classes": [], "assets": ASSETS}
FAMILIES = {
    "mlp": (TABLE, {**CLASSIFIED, "features": ["width", "height", "color"], "categories": CATEGORIES}),
    "image": (IMAGE, {**CLASSIFIED, "features": []}),
    "entities": (ENTITIES, {**TAGGED, "features": []}),
}


def make_family(folder, family):
    """Write a model of the family into `folder`, with weights of the seed 0."""
    architecture, fields = FAMILIES[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(architecture)
    folder.mkdir()
    save_network(network, folder, architecture=architecture, inputs={"table": "0" * 64}, spec={}, **fields)
    return folder


def export_to(out, folder, report=None, **fields):
    return run(ExportSpec(**fields), inputs=find_model_files(folder), out=out, report=report or Silent())


def shorten_resnet(patch):
    """Leave ResNet-18 half of its blocks: every operator of it stays."""

    def build_short_resnet(*, weights, num_classes):
        return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)

    patch.setattr(image_networks, "resnet18", build_short_resnet)


@pytest.fixture(autouse=True)
def short_resnet(monkeypatch):
    shorten_resnet(monkeypatch)


@pytest.fixture
def model(tmp_path):
    """A classifier of two numbers and a category."""
    return make_family(tmp_path / "model", "mlp")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Family -> the folder of a model and that of its export in all forms, which no test changes."""
    folder, made = tmp_path_factory.mktemp("exported"), {}
    with pytest.MonkeyPatch.context() as patch:
        shorten_resnet(patch)
        for family in FAMILIES:
            made[family] = make_family(folder / family, family), folder / f"{family}-out"
            export_to(made[family][1], made[family][0])
    return made
