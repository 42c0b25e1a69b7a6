"""An adapter merged tensor by tensor is what peft makes of it, and belongs to one base."""

import shutil

import pytest

from deepseek.job import EngineError, Silent
from deepseek.language.merge import run
from deepseek.language.spec import MergeSpec
from deepseek.models.assets import read_assets
from deepseek.models.manifest import ModelManifest


@pytest.fixture
def merge(tmp_path):
    def merge(base, adapter="adapter", out="merged"):
        folder = tmp_path / adapter
        inputs = {"base": base, "model": folder / "model.safetensors", "manifest": folder / "model.json"}
        return run(MergeSpec(), inputs=inputs, out=tmp_path / out, report=Silent())

    return merge


@pytest.mark.parametrize("version", [3, 4])
def test_it_equals_what_peft_merges(bases, fine_tune, merge, tmp_path, version):
    import peft
    import torch
    import transformers

    fine_tune(bases[version], "adapter", epochs=1)
    result = merge(bases[version])
    assert 0 < result.summary["changed"] < result.summary["tensors"]
    folder = tmp_path / "peft"
    folder.mkdir()
    config = read_assets(tmp_path / "adapter/model.safetensors")["files"]["adapter_config.json"]
    (folder / "adapter_config.json").write_text(config)
    (folder / "adapter_model.safetensors").symlink_to(tmp_path / "adapter/model.safetensors")
    network = getattr(transformers, f"DeepseekV{version}ForCausalLM")
    base = network.from_pretrained(bases[version])
    expected = peft.PeftModel.from_pretrained(base, folder).merge_and_unload().state_dict()
    merged = network.from_pretrained(tmp_path / "merged").state_dict()
    torch.testing.assert_close(merged, expected)
    manifest = ModelManifest.read(tmp_path / "merged/model.json")
    assert not manifest.architecture.adapter
    assert manifest.parent == manifest.inputs["manifest"]


def test_another_base_is_refused(bases, fine_tune, merge, tmp_path):
    fine_tune(bases[3], "adapter", epochs=1)
    other = shutil.copytree(bases[3], tmp_path / "other")
    shard = sorted(other.glob("*.safetensors"))[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(EngineError) as failure:
        merge(other)
    assert (failure.value.code, failure.value.message.params["name"]) == ("other_base", shard.name)
    assert not (tmp_path / "merged").exists()


def test_a_whole_model_is_no_adapter(bases, fine_tune, merge):
    fine_tune(bases[3], "adapter", method="full", epochs=1)
    with pytest.raises(EngineError) as failure:
        merge(bases[3])
    assert failure.value.code == "not_an_adapter"
