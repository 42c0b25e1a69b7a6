"""`evaluate` on texts."""

import pyarrow.parquet as pq
import pytest

from deepseek.evaluate.run import run
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import EngineError, Silent


def evaluate(trained, out, table=None, **fields):
    inputs = {"model": trained.out / "model.safetensors", "manifest": trained.out / "model.json"}
    inputs["table"] = table or trained.texts
    spec = EvaluateSpec(**{"runs": 20, "batches": [1], "replicates": 200} | fields)
    return run(spec, inputs=inputs, out=out, report=Silent())


def test_a_model_is_measured_on_texts(trained, tmp_path):
    result = evaluate(trained, tmp_path / "out")
    document = result.outputs[0].meta
    assert (document["task"], document["rows"]) == ("entities", 60)
    metrics = {metric["name"]: metric for metric in document["metrics"]}
    assert metrics["f1"]["low"] <= metrics["f1"]["value"] <= metrics["f1"]["high"]
    assert set(metrics) >= {"precision", "recall", "f1_ORG"}
    assert document["latency"][0]["p50_us"] > 0
    assert pq.read_table(tmp_path / "out" / "rows.parquet").column_names == ["row", "target", "prediction", "loss"]


def test_fields_of_tables_are_refused(trained, tmp_path):
    with pytest.raises(EngineError) as error:
        evaluate(trained, tmp_path / "out", slices=[{"column": "a"}])
    assert (error.value.code, error.value.field) == ("family_unsupported", "/slices")


def test_a_folder_is_refused(trained, tmp_path):
    with pytest.raises(EngineError) as error:
        evaluate(trained, tmp_path / "out", table=tmp_path)
    assert (error.value.code, error.value.field) == ("wrong_inputs", "inputs/table")
