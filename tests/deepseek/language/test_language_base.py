"""Folders that are no base model are refused by what is wrong with them, before anything is loaded."""

import json
import shutil

import pytest

from deepseek.job import EngineError
from deepseek.language.base import read_base


@pytest.fixture
def folder(bases, tmp_path):
    return shutil.copytree(bases[3], tmp_path / "base")


def refuse(folder):
    with pytest.raises(EngineError) as failure:
        read_base(folder)
    assert failure.value.hint
    return failure.value.code


def edit(path, **values):
    document = json.loads(path.read_text())
    document.update(values)
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


def test_both_architectures_are_read(bases):
    assert {version: read_base(folder).model_type for version, folder in bases.items()} == {
        3: "deepseek_v3",
        4: "deepseek_v4",
    }


def test_each_fault_of_the_folder_has_its_code(folder):
    shard = sorted(folder.glob("*.safetensors"))[0]
    content, config = shard.read_bytes(), (folder / "config.json").read_text()

    def try_config(**values):
        edit(folder / "config.json", **values)
        code = refuse(folder)
        (folder / "config.json").write_text(config)
        return code

    def try_file(name, data):
        path = folder / name
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        code = refuse(folder)
        path.unlink()
        if before is not None:
            path.write_bytes(before)
        return code

    found = {
        "other": try_config(model_type="llama"),
        "other class": try_config(architectures=["DeepseekV3ForSequenceClassification"]),
        "code": try_config(auto_map={"AutoConfig": "x.Y"}),
        "quantized": try_config(quantization_config={"quant_method": "fp8"}),
        "width": try_config(hidden_size=48),
        "nonsense": try_config(hidden_size="wide"),
        "pickle": try_file("pytorch_model.bin", b"\x80"),
        "python": try_file("modeling.py", b"1"),
        "cut": try_file(shard.name, content[:-8]),
        "no shard": try_file(shard.name, b""),
        "tokenizer": (folder / "tokenizer.json").unlink() or refuse(folder),
        "no config": (folder / "config.json").unlink() or refuse(folder),
        "no folder": refuse(folder / "absent"),
    }
    assert found == {
        "other": "base_architecture",
        "other class": "base_architecture",
        "code": "base_unsafe",
        "quantized": "base_quantized",
        "width": "base_mismatch",
        "nonsense": "base_unreadable",
        "pickle": "base_unsafe",
        "python": "base_unsafe",
        "cut": "base_shard_missing",
        "no shard": "base_shard_missing",
        "tokenizer": "base_unreadable",
        "no config": "base_unreadable",
        "no folder": "base_unreadable",
    }


def test_a_missing_shard_is_named(folder):
    shard = sorted(folder.glob("*.safetensors"))[-1]
    shard.unlink()
    with pytest.raises(EngineError) as failure:
        read_base(folder)
    assert (failure.value.code, failure.value.value) == ("base_shard_missing", shard.name)
