"""Each family compiled: it predicts what the trained model does, when it is evaluated and served as well."""

import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from torch import nn

from deepseek.compile.host import detect_host
from deepseek.compile.lowering import lower
from deepseek.entities.outputs import HELDOUT_NAME as TEXTS_NAME
from deepseek.entities.predictor import open_entities
from deepseek.evaluate.run import run as evaluate
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import EngineError, Silent
from deepseek.models.figures import Figures
from deepseek.models.folder import find_model_files
from deepseek.models.heldout import HELDOUT_NAME, Heldout, write_heldout
from deepseek.models.manifest import LanguageArchitecture, ModelManifest
from deepseek.models.predictor import load_predictor
from tests.deepseek.export.conftest import IMAGE, make_family, shorten_resnet

TEXTS = [
    {"text": "word1 word2 other", "spans": [{"start": 0, "end": 5, "label": "PER"}]},
    {"text": "word3, word4 and word5. word6", "spans": []},
    {"text": "word7 " * 20, "spans": []},
]
LINES = "\n".join(map(json.dumps, TEXTS))


def test_images(compiled, tmp_path, monkeypatch):
    shorten_resnet(monkeypatch)
    model, random = make_family(tmp_path / "model", "image"), np.random.default_rng(0)
    pixels = random.integers(0, 256, (6, *IMAGE.input_shape), dtype=np.uint8)
    write_heldout(Heldout(pixels, random.integers(0, 2, 6)), model / HELDOUT_NAME)
    compiled(model, batch=2)
    images = random.uniform(0, 255, (3, *IMAGE.input_shape)).astype(np.float32)
    trained, made = (load_predictor(folder).predict(images) for folder in (model, tmp_path / "out"))
    assert np.allclose(made, trained, atol=1e-6)
    figures = Figures.read(tmp_path / "out/figures.json")
    assert [metric.name for metric in figures.metrics] == ["accuracy", "f1_macro", "log_loss"]
    assert figures.agreement.same_class.value == 1


@pytest.fixture
def tagger(tmp_path):
    """A model of entities with held-out texts."""
    model = make_family(tmp_path / "model", "entities")
    manifest = ModelManifest.read(model / "model.json")
    labelled = manifest.model_copy(update={"classes": manifest.architecture.labels})
    (model / "model.json").write_text(labelled.to_json())
    (model / TEXTS_NAME).write_text(LINES)
    return model


def test_entities(compiled, tagger, tmp_path):
    """It finds what the trained model finds, and is evaluated as every form is."""
    compiled(tagger, batch=2, length=16)
    opened = [open_files(folder) for folder in (tagger, tmp_path / "out")]
    trained, made = (open_entities(*files) for files in opened)
    texts = [record["text"] for record in TEXTS]
    assert made.max_length == 16
    assert made.predict(texts[:2]) == trained.predict(texts[:2]) != [[], []]
    assert len(made.predict(texts)) == 3  # the last is cut into windows
    figures = Figures.read(tmp_path / "out/figures.json")
    assert figures.rows == 3
    assert figures.agreement.max_rel_error < 1e-5
    assert any("16 tokens at once" in note for note in figures.notes)

    table = tmp_path / "texts.jsonl"
    table.write_text(f"{LINES}\n" * 4)
    inputs = {**find_model_files(tmp_path / "out"), "table": table}
    evaluate(EvaluateSpec(replicates=200, runs=20), inputs=inputs, out=tmp_path / "evaluation", report=Silent())
    document = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert (document["format"], document["rows"]) == ("tvm", 12)


PROGRAM = """
import array, json, sys
sys.path.insert(0, sys.argv[1])
from load_model import Model
model = Model(sys.argv[1])
shape = [3, *model.input["shape"][1:]]
tokens = array.array("q", [1]) * (shape[0] * shape[1] * shape[2])
print(json.dumps(model.predict(memoryview(tokens).cast("B").cast("q", shape)).tolist()))
"""


def test_the_bundle_of_entities_answers_for_each_token(compiled, tagger, tmp_path):
    compiled(tagger, batch=2, length=16)
    with tarfile.open(tmp_path / "out/bundle.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    call = [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path / "bundle")]
    answers = np.array(json.loads(subprocess.run(call, capture_output=True, check=True).stdout))
    trained = open_entities(*open_files(tagger))
    width = trained.architecture.input_shape[-1]
    expected = trained.network(np.ones((3, 16, width), np.int64))
    assert np.allclose(answers, expected, atol=1e-4)


def open_files(folder):
    return ModelManifest.read(folder / "model.json"), find_model_files(folder)["model"]


def test_what_is_refused(compiled, tagger, tmp_path):
    """A language model, and more tokens than the model sees at once."""
    manifest = ModelManifest.read(tagger / "model.json")
    language = LanguageArchitecture(model_type="deepseek_v3", vocabulary=8, context=8)
    other = manifest.model_copy(update={"architecture": language, "task": "language"})
    (tmp_path / "model.json").write_text(other.to_json())
    for code, changes, inputs in (
        ("family_unsupported", {}, {"manifest": tmp_path / "model.json"}),
        ("out_of_range", {"length": 64}, {}),
    ):
        with pytest.raises(EngineError) as caught:
            compiled(tagger, inputs=inputs, **changes)
        assert caught.value.code == code
        assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_an_operator_that_tvm_does_not_take():
    class Odd(nn.Module):
        def forward(self, values):
            return torch.special.bessel_j0(values)

    with pytest.raises(EngineError) as caught:
        lower(Odd(), torch.zeros(2, 3), detect_host().build_target(1), 16)
    assert caught.value.code == "compile_operator"
    assert "bessel_j0" in caught.value.message
    assert "Replace" in caught.value.hint
