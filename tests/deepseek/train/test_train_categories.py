"""Columns of categories: which are, their codes, and that a model learns from them in every form."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.evaluate.run import run as evaluate
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import EngineError, Silent
from deepseek.models.manifest import ModelManifest
from deepseek.models.predictor import load_predictor
from deepseek.quantize.run import run as quantize
from deepseek.quantize.spec import QuantizeSpec
from deepseek.train.columns import MOST_CATEGORIES
from deepseek.train.examples import read_examples
from deepseek.train.run import compute_embedding_width
from deepseek.train.spec import TrainSpec

ROWS = 200
FIELDS = {"task": "classification", "target": "y", "features": ["colour", "x"], "categories": ["zip"]}


def draw_columns():
    """The target is whether the colour is red, but for zip codes from 4 on; some colours are missing."""
    draw = np.random.default_rng(0)
    colour = draw.choice(np.array(["red", "green", None], dtype=object), ROWS)
    zip_code = draw.integers(0, 7, ROWS)
    y = np.where((colour == "red") ^ (zip_code > 3), "yes", "no")
    return {"x": draw.normal(size=ROWS), "colour": colour.tolist(), "zip": zip_code, "y": y.tolist()}


def read(path, **fields):
    return read_examples(path, TrainSpec(**{"task": "regression", "target": "y", **fields}))


def refused(path, **fields):
    with pytest.raises(EngineError) as caught:
        read(path, **fields)
    return caught.value.code, caught.value.field


@pytest.fixture
def numbers(table):
    """Write columns beside a target of numbers."""
    return lambda **columns: table(y=np.arange(40.0), **columns)


def test_numbers_come_first_and_every_kind_of_category_after_them(numbers):
    path = numbers(
        word=["b", "a"] * 20,
        flag=[True, False] * 20,
        whole=pa.array([7.0, None] * 20),
        coded=pa.array(["u", "v"] * 20).dictionary_encode(),
        x=np.arange(40.0) % 3,
    )
    found = read(path, features=["word", "coded", "x"], categories=["flag", "whole"])
    assert found.names == ["x", "word", "coded", "flag", "whole"]
    assert found.categories == {"word": ["a", "b"], "coded": ["u", "v"], "flag": ["false", "true"], "whole": ["7"]}
    assert found.features[:2].tolist() == [[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    assert found.left_out == 0


def test_categories_are_learned_from_only_where_they_are_named(numbers):
    path = numbers(word=["b", "a"] * 20, x=np.arange(40.0))
    found = read(path)
    assert (found.names, found.categories) == (["x"], {})
    assert any("category column" in warning for warning in found.warnings)
    assert read(path, categories=["word"]).names == ["x", "word"]


def test_a_category_that_no_training_row_has_counts_as_none(numbers):
    path = numbers(word=["a"] * 20 + ["b"] * 8 + ["new"] * 12)
    found = read(path, features=["word"], split="ordered")
    assert found.categories == {"word": ["a", "b"]}
    assert found.features[[0, 39], 0].tolist() == [0, 2]


def test_columns_that_hold_no_categories(numbers):
    path = numbers(half=np.arange(40) / 2, many=[f"id {i}" for i in range(40)], gone=pa.nulls(40, pa.string()))
    assert refused(path, categories=["half"]) == ("column_not_categories", "/categories/0")
    assert refused(path, categories=["gone"]) == ("column_all_missing", "/categories/0")
    assert refused(path, categories=["nowhere"]) == ("unknown_column", "/categories/0")
    assert read(path, features=["many"]).numbers == 0


def test_too_many_categories(table):
    path = table(y=np.arange(1200.0), many=[f"id {i}" for i in range(1200)])
    assert MOST_CATEGORIES < 1200
    assert refused(path, features=["many"]) == ("too_many_categories", "/features/0")


def test_the_spec():
    for fields in ({"categories": ["y"]}, {"categories": ["a", "a"]}, {"task": "forecast", "categories": ["a"]}):
        with pytest.raises(ValueError):
            TrainSpec(**{"task": "regression", "target": "y", **fields})


def test_the_width_of_a_vector():
    widths = {categories: compute_embedding_width(categories) for categories in (0, 1, 2, 10, 100, 1000)}
    assert widths == {0: 1, 1: 2, 2: 2, 10: 6, 100: 21, 1000: 50}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with categories, and its table."""
    from tests.deepseek.train.conftest import train_to

    folder = tmp_path_factory.mktemp("categories")
    pq.write_table(pa.table(draw_columns()), folder / "table")
    result = train_to(folder / "model", folder / "table", **FIELDS, hidden=[16], epochs=30)
    assert result.metrics["accuracy"] > 0.8
    return folder


def test_the_manifest_lists_them(model):
    manifest = ModelManifest.read(model / "model" / "model.json")
    assert manifest.features == ["x", "colour", "zip"]
    assert manifest.categories == {"colour": ["green", "red"], "zip": list("0123456")}
    assert manifest.list_codes() == {1: {"green": 0, "red": 1}, 2: {str(i): i for i in range(7)}}
    assert [shape.width for shape in manifest.architecture.embeddings] == [2, 5]
    document = json.loads(manifest.to_json())
    document["categories"]["zip"].append("7")
    with pytest.raises(ValueError):
        ModelManifest.model_validate(document)


def test_a_model_without_categories_has_the_manifest_of_before(train, flowers, tmp_path):
    train(flowers, task="classification", target="kind", epochs=1)
    document = json.loads((tmp_path / "out" / "model.json").read_text())
    assert "categories" not in document
    assert "embeddings" not in document["architecture"]


def test_evaluate_maps_words_to_codes(model, tmp_path):
    columns = draw_columns()
    columns["colour"][0] = "a new one"
    columns["zip"] = [str(code) for code in columns["zip"]]  # as another export may write them
    pq.write_table(pa.table(columns), tmp_path / "table")
    files = {"model": model / "model" / "model.safetensors", "manifest": model / "model" / "model.json"}
    spec = EvaluateSpec(runs=20, batches=[1], replicates=200)
    result = evaluate(spec, inputs={**files, "table": tmp_path / "table"}, out=tmp_path / "out", report=Silent())
    assert result.summary["rows"] == ROWS
    assert result.summary["metrics"]["accuracy"] > 0.8


def test_it_is_quantized(model, tmp_path):
    names = {"model": "model.safetensors", "manifest": "model.json", "heldout": "heldout.safetensors"}
    inputs = {slot: model / "model" / name for slot, name in names.items()}
    result = quantize(QuantizeSpec(runs=20), inputs=inputs, out=tmp_path / "int8", report=Silent())
    assert result.summary["max_abs_error"] < 0.1
    rows = np.array([[0, 1, 2], [0, 9, np.nan]], np.float32)  # beyond the last code, and none: no category
    smaller, trained = load_predictor(tmp_path / "int8"), load_predictor(model / "model")
    np.testing.assert_allclose(smaller.predict(rows), trained.predict(rows), atol=0.1)
    np.testing.assert_array_equal(trained.predict(rows[1:]), trained.predict(np.array([[0, 2, 7]], np.float32)))
