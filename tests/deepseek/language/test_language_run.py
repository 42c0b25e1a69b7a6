"""Fine-tuning from a folder to a model: both architectures, both methods, resuming, and what a spec may not say."""

import json

import pytest
from pydantic import ValidationError

from deepseek.job import EngineError
from deepseek.language.spec import LanguageSpec
from deepseek.models.assets import read_assets
from deepseek.models.manifest import ModelManifest
from tests.deepseek.conftest import Recorder
from tests.deepseek.killing import train_until_killed


@pytest.mark.parametrize(("version", "method"), [(3, "full"), (4, "lora")])
def test_a_training_beats_its_base(bases, fine_tune, tmp_path, version, method):
    result = fine_tune(bases[version], "out", method=method)
    figures = json.loads((tmp_path / "out/figures.json").read_text())
    assert [output.slot for output in result.outputs] == ["model", "manifest", "figures", "samples", "heldout"]
    assert figures["metrics"][0]["name"] == "perplexity"
    assert figures["baseline"]["difference"][0]["high"] < 0
    samples = json.loads((tmp_path / "out/samples.json").read_text())
    assert samples["kind"] == "answers"
    assert set(samples["samples"][0]) == {"prompt", "target", "before", "after"}
    assert len((tmp_path / "out/heldout.jsonl").read_text().splitlines()) == figures["rows"]


def test_a_whole_model_is_a_folder_that_transformers_loads(bases, fine_tune, tmp_path):
    from deepseek.language.base import read_base

    fine_tune(bases[3], "out", method="full", epochs=1)
    base = read_base(tmp_path / "out")
    assert base.model_type == "deepseek_v3"
    assert any(name.endswith("experts.0.gate_proj.weight") for name in base.tensors)
    assert "tokenizer.json" in read_assets(tmp_path / "out/model.safetensors")["files"]
    again = fine_tune(tmp_path / "out/model.safetensors", "again", epochs=1)
    assert again.summary["baseline"] == pytest.approx(json.loads(json.dumps(again.summary["baseline"])), rel=1e-6)


def test_an_adapter_names_the_files_of_its_base(bases, fine_tune, tmp_path):
    from deepseek.language.base import read_base

    fine_tune(bases[3], "out", epochs=1)
    manifest = ModelManifest.read(tmp_path / "out/model.json")
    assert manifest.architecture.adapter
    assert manifest.architecture.base == read_base(bases[3]).digests
    assert sum(name.endswith(".safetensors") for name in manifest.architecture.base) > 1


@pytest.mark.parametrize(("version", "method"), [(3, "lora"), (4, "full")])
def test_it_resumes_bit_for_bit(bases, fine_tune, tmp_path, version, method):
    fields = {"method": method, "checkpoint_every": 3, "micro_batch": 2, "activation_checkpointing": True}

    train_until_killed(lambda report: fine_tune(bases[version], "rest", report, **fields), 3, 1)
    rest = Recorder()
    fine_tune(bases[version], "rest", rest, **fields)
    fine_tune(bases[version], "whole", **fields)
    assert any("checkpoint of step 3" in line for _, line in rest.lines)
    assert (tmp_path / "rest/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


def test_frozen_weights_of_bf16_train_too(bases, fine_tune):
    result = fine_tune(bases[3], "out", precision="bf16", epochs=1)
    assert result.summary["metrics"]["perplexity"] < result.summary["baseline"]["perplexity"]


def test_a_loss_that_is_not_finite_stops_it(bases, fine_tune, tmp_path):
    schedule = {"first_batch": 4, "last_batch": 8, "init_lr": 10, "max_lr": 10, "warmup_steps": 0}
    with pytest.raises(EngineError) as failure:
        fine_tune(
            bases[3], "out", method="full", epochs=30, patience=0, schedule=schedule, precision="fp16", device="cpu"
        )
    assert failure.value.code == "loss_not_finite"
    assert not (tmp_path / "out").exists()


def test_the_spec_refuses_what_cannot_be():
    with pytest.raises(ValidationError, match="bf16 or fp32"):
        LanguageSpec(strategy="fsdp", precision="fp16", processes=2)
    with pytest.raises(ValidationError):
        LanguageSpec(base="no version")


def test_the_command_line_trains_and_merges(bases, texts, deepseek, tmp_path):
    flags = ["--epochs", "1", "--samples", "0", "--first-batch", "8", "--last-batch", "8"]
    end = deepseek("train-language", bases[3], texts, "-o", "adapter", *flags)
    assert end.returncode == 0, end.stderr
    end = deepseek("merge", bases[3], "adapter", "-o", "merged")
    assert end.returncode == 0, end.stderr
    assert (tmp_path / "merged/model.json").is_file()


def test_without_the_extra_it_says_so(bases, fine_tune, monkeypatch):
    from deepseek.language import errors

    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as failure:
        fine_tune(bases[3], "out")
    assert failure.value.code == "package_missing"
