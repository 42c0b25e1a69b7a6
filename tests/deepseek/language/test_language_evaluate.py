"""`evaluate` on conversations: of a whole model, and of an adapter beside its base."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from deepseek.evaluate.run import run
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import EngineError, Silent
from deepseek.models.figures import Figures
from tests.deepseek.language.tiny import write_texts


@pytest.fixture
def evaluate(tmp_path):
    """evaluate(folder, texts, base=None, out="evaluation", **fields) -> the document."""

    def measure(folder, texts, base=None, out="evaluation", **fields):
        inputs = {"model": folder / "model.safetensors", "manifest": folder / "model.json", "table": texts}
        inputs |= {"base": base} if base else {}
        spec = EvaluateSpec(**{"runs": 20, "batches": [2], "replicates": 200} | fields)
        return run(spec, inputs=inputs, out=tmp_path / out, report=Silent()).outputs[0].meta

    return measure


@pytest.mark.parametrize(("version", "method"), [(3, "lora"), (4, "lora"), (3, "full")])
def test_the_figures_are_those_of_the_training(bases, fine_tune, evaluate, tmp_path, version, method):
    fine_tune(bases[version], "out", method=method, test_share=0.45, epochs=1, samples=0)
    folder, base = tmp_path / "out", bases[version] if method == "lora" else None
    document = evaluate(folder, folder / "heldout.jsonl", base)
    trained = {metric.name: metric.value for metric in Figures.read(folder / "figures.json").metrics}
    metrics = {metric["name"]: metric for metric in document["metrics"]}
    assert {name: metric["value"] for name, metric in metrics.items()} == pytest.approx(trained, rel=1e-4)
    assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in metrics.values())
    assert (document["task"], document["left_out"], document["notes"]) == ("language", 0, [])
    assert document["latency"][0]["p50_us"] > 0
    rows = pq.read_table(tmp_path / "evaluation/rows.parquet").to_pydict()
    assert list(rows) == ["row", "target", "tokens", "hits", "loss"]
    assert rows["row"] == [*range(document["rows"])]
    replicates = json.loads((tmp_path / "evaluation/replicates.json").read_text())
    assert replicates["pairing"] == document["pairing"]
    assert [series["metric"] for series in replicates["series"]] == ["perplexity", "token_accuracy"]


def test_two_models_of_one_base_are_paired(bases, fine_tune, evaluate, texts, tmp_path):
    for name, epochs in (("one", 1), ("two", 2)):
        fine_tune(bases[3], name, epochs=epochs, samples=0)
    found = [evaluate(tmp_path / name, texts, bases[3], out=f"of {name}") for name in ("one", "two")]
    assert found[0]["pairing"] == found[1]["pairing"]
    assert found[0]["metrics"] != found[1]["metrics"]
    assert evaluate(tmp_path / "one", texts, bases[3], out="rest", first_row=5)["rows"] == 24 - 5


def test_what_is_wrong_is_named(bases, fine_tune, evaluate, texts, tmp_path):
    for name, method in (("adapter", "lora"), ("whole", "full")):
        fine_tune(bases[3], name, method=method, epochs=1, samples=0)
    adapter, whole = tmp_path / "adapter", tmp_path / "whole"
    other = shutil.copytree(bases[3], tmp_path / "other")
    shard = sorted(other.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    few = write_texts(tmp_path / "few.jsonl", [{"prompt": "a", "completion": "b"}])
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a"}\n')
    cases = {
        ("adapter_alone", "inputs/base"): (adapter, texts),
        ("not_an_adapter", "inputs/base"): (whole, texts, bases[3]),
        ("other_base", "inputs/base"): (adapter, texts, other),
        ("rows_too_few", "inputs/table"): (whole, few),
        ("text_unreadable", "inputs/table"): (whole, broken),
    }
    found = {}
    for expected, words in cases.items():
        with pytest.raises(EngineError) as failure:
            evaluate(*words)
        found[expected] = (failure.value.code, failure.value.field)
    for name, value in {"slices": [{"column": "a"}], "group": "a", "positive": "a", "horizon": 2}.items():
        with pytest.raises(EngineError) as failure:
            evaluate(whole, texts, **{name: value})
        found["family_unsupported", f"/{name}"] = (failure.value.code, failure.value.field)
    assert {expected: actual for expected, actual in found.items() if expected != actual} == {}
    assert not (tmp_path / "evaluation").exists()


def test_the_command_takes_the_base(bases, fine_tune, texts, tmp_path, capsys):
    from deepseek.cli import main

    fine_tune(bases[3], "adapter", epochs=1, samples=0)
    words = ["evaluate", tmp_path / "adapter", texts, "-o", tmp_path / "out", "--base", bases[3]]
    assert main([*map(str, words), "--runs", "20", "--batches", "1", "--replicates", "200"]) == 0
    assert "metrics: perplexity " in capsys.readouterr().out


def test_an_adapter_is_registered_with_the_digests_of_its_base(bases, fine_tune, tmp_path):
    from deepseek.register.run import run as register
    from deepseek.register.spec import RegisterSpec

    fine_tune(bases[3], "adapter", epochs=1, samples=0)
    files = {"fp32": "model.safetensors", "fp32_manifest": "model.json", "fp32_figures": "figures.json"}
    inputs = {slot: tmp_path / "adapter" / name for slot, name in files.items()}
    result = register(RegisterSpec(), inputs=inputs, out=tmp_path / "version", report=Silent())
    architecture = result.outputs[0].meta["architecture"]
    assert architecture["adapter"]
    assert set(architecture["base"]) >= {"config.json", "tokenizer.json", "model.safetensors.index.json"}
