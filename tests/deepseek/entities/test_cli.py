"""`deepseek train-entities`, and the commands after it."""

from tests.deepseek.entities.making import draw_texts, write_jsonl
from tests.deepseek.test_cli import fine, refused

QUICK = ["--runs", 10, "--batches", 1, "--candidates", "int8-onnx", "--sensitivity-layers", 0]
WORDS = ["--width", 16, "--heads", 2, "--layers", 1, "--buckets", 256, "--epochs", 1]


def test_train_entities(deepseek, tmp_path):
    run = fine(deepseek("train-entities", write_jsonl(tmp_path / "texts", draw_texts(30)), "-o", "model", *WORDS))
    assert "samples: model/samples.json" in run.stdout
    fine(deepseek("quantize", "model", "-o", "int8", *QUICK))


def test_a_spec_that_does_not_fit(deepseek, tmp_path):
    run = deepseek("train-entities", write_jsonl(tmp_path / "texts", []), "-o", "m", "--heads", 3)
    refused(run, "no multiple of 3 heads")
