"""A training from texts to a model, its figures, and what may be wrong with its inputs."""

import json
import pickle  # noqa: TID251  what must not be opened has to be made first

import pytest
import safetensors.torch

from deepseek.entities.predictor import open_entities
from deepseek.entities.vocabulary import read_model_assets
from deepseek.job import EngineError, build_checkpoint_path
from deepseek.models.figures import Figures
from deepseek.models.manifest import ModelManifest
from tests.deepseek.entities.making import draw_texts, train_to, write_jsonl
from tests.deepseek.killing import train_until_killed
from tests.deepseek.train.test_train_resume import Stops

FILES = ("model.safetensors", "model.json", "figures.json", "heldout.jsonl", "samples.json")


def test_a_model_is_trained_and_measured(trained):
    assert [output.slot for output in trained.result.outputs] == ["model", "manifest", "figures", "heldout", "samples"]
    assert trained.result.metrics["f1"] > 0.9
    figures = Figures.read(trained.out / "figures.json")
    assert {metric.name for metric in figures.metrics} >= {"f1", "f1_PERSON", "recall_ORG"}
    assert figures.baseline.name == "dictionary of training spans"
    assert figures.baseline.difference[0].method == "paired bootstrap"
    heldout = [json.loads(line) for line in (trained.out / "heldout.jsonl").read_text().splitlines()]
    assert len(heldout) == figures.rows == trained.result.summary["rows"]["test"]
    samples = json.loads((trained.out / "samples.json").read_text())
    assert (samples["schema"], samples["kind"]) == ("plane/samples/v1", "text")


def test_the_model_answers_as_it_was_measured(trained):
    manifest = ModelManifest.read(trained.out / "model.json")
    predictor = open_entities(manifest, trained.out / "model.safetensors")
    long = "Ada left Acme. " * 20  # more than the model takes at once
    found = predictor.predict(["Ada left Acme.", "", long])
    assert [(span.start, span.end, span.label) for span in found[0]] == [(0, 3, "PERSON"), (9, 13, "ORG")]
    assert found[1] == []
    assert len(found[2]) == 40


# 42 texts: 6 steps in each of two epochs, then 3 and 3.
@pytest.mark.parametrize(("at", "later"), [(3, 2), (15, 0)])
def test_going_on_is_bit_exact(texts, tmp_path, at, later):
    train_until_killed(lambda report: train_to(tmp_path / "out", texts, report), at, later)
    assert build_checkpoint_path(tmp_path / "out").exists()
    report = Stops()
    train_to(tmp_path / "out", texts, report)
    assert ("info", f"goes on from the checkpoint of step {at}") in report.lines
    train_to(tmp_path / "whole", texts)
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_saved_activations_and_micro_batches_change_little(texts, tmp_path):
    plain = train_to(tmp_path / "a", texts, epochs=1, dropout=0, token_dropout=0)
    spared = train_to(
        tmp_path / "b", texts, epochs=1, dropout=0, token_dropout=0, activation_checkpointing=True, micro_batch=3
    )
    loss = "best_validation_loss"
    assert spared.summary[loss] == pytest.approx(plain.summary[loss], rel=1e-3)


def test_weights_of_an_earlier_model_with_its_vocabulary(trained, tmp_path):
    records = [{**r, "text": r["text"] + " zebra zebra"} for r in draw_texts()]
    texts = write_jsonl(tmp_path / "texts", records)
    weights = trained.out / "model.safetensors"
    result = train_to(tmp_path / "out", texts, weights=weights, epochs=1)
    before, after = (
        read_model_assets(f / "model.safetensors", None).vocabulary for f in (trained.out, tmp_path / "out")
    )
    assert after[: len(before)] == before
    assert after[len(before) :] == ["zebra"]
    assert result.metrics["f1"] > 0.9  # after one epoch: it did not begin from nothing
    manifest = ModelManifest.read(tmp_path / "out" / "model.json")
    assert set(manifest.inputs) == {"texts", "weights"}


def test_weights_that_do_not_fit(trained, texts, tmp_path):
    weights, pickled, foreign = trained.out / "model.safetensors", tmp_path / "pickle", tmp_path / "foreign"
    pickled.write_bytes(pickle.dumps({}))
    foreign.write_bytes(safetensors.torch.save({}))
    cases = {
        "model_unsafe": (pickled, {}, "inputs/weights"),
        "model_mismatch": (foreign, {}, "inputs/weights"),
        "weights_mismatch": (weights, {"width": 32}, "inputs/weights"),
        "weights_mismatch ": (weights, {"labels": ["ORG", "PERSON"]}, "/labels"),
    }
    for code, (path, fields, field) in cases.items():
        with pytest.raises(EngineError) as error:
            train_to(tmp_path / "out", texts, weights=path, **fields)
        assert (error.value.code, error.value.field) == (code.strip(), field)
        if fields.get("width"):
            assert "words.weight" in error.value.message


def test_texts_that_teach_nothing(tmp_path):
    cases = {
        "too_few_texts": [{"text": "Ada"}] * 40,
        "no_spans": [{"text": f"Ada {n}"} for n in range(40)],
    }
    for code, records in cases.items():
        with pytest.raises(EngineError) as error:
            train_to(tmp_path / "out", write_jsonl(tmp_path / "a", records))
        assert error.value.code == code


def test_equal_texts_lie_in_one_part(tmp_path):
    texts = write_jsonl(tmp_path / "a", draw_texts(30) * 2)
    result = train_to(tmp_path / "out", texts, epochs=1)
    held = (tmp_path / "out" / "heldout.jsonl").read_text().splitlines()
    assert len(held) == 2 * len(set(held))
    assert sum(result.summary["rows"].values()) == 60
