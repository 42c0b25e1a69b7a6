"""The adapter that a training left: its layers, and what each adds to a tensor of its base."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from deepseek.job import EngineError
from deepseek.language.architecture import AdapterLayer, Target, build_empty_model, list_adapter_layers
from deepseek.language.base import Base
from deepseek.language.network import add_adapters
from deepseek.language.outputs import ADAPTER_CONFIG, PEFT_PREFIX
from deepseek.language.tensor_files import TensorInfo, read_header
from deepseek.language.unpack import read_files
from deepseek.messages import N_
from deepseek.models.manifest import LanguageArchitecture, ModelManifest, check_file


@dataclass(frozen=True)
class Adapter:
    """An open adapter file: what its layers are called by the parameter that each changes, and their scale."""

    path: Path
    layers: Mapping[str, AdapterLayer]
    scale: float
    files: Mapping[str, str]

    def read_config(self) -> dict[str, Any]:
        """The adapters' description."""
        config: dict[str, Any] = json.loads(self.files[ADAPTER_CONFIG])
        return config

    def compute_delta(self, target: Target) -> Tensor | None:
        """What is added to the tensor that belongs to `target`, in float32; None where nothing is.

        For a parameter of three dimensions it is made expert by expert.
        """
        layer = self.layers.get(target.name)
        if layer is None:
            return None
        down, up = (self._read(layer, side) for side in ("lora_A", "lora_B"))
        if layer.experts == 1:
            return (up @ down) * self.scale
        if target.expert is not None:
            delta = self._compute_expert(layer, down, up, target.expert)
            return delta.chunk(target.parts, dim=0)[target.part]
        return torch.stack([self._compute_expert(layer, down, up, expert) for expert in range(layer.experts)])

    def _compute_expert(self, layer: AdapterLayer, down: Tensor, up: Tensor, expert: int) -> Tensor:
        """As peft lays them out: A's rows are the experts one after the other, B's columns take turns."""
        rank = down.shape[0] // layer.experts
        rows = down[expert * rank : (expert + 1) * rank]
        return (up.reshape(up.shape[0], rank, layer.experts)[:, :, expert] @ rows) * self.scale

    def _read(self, layer: AdapterLayer, side: str) -> Tensor:
        with safetensors.safe_open(self.path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(f"{PEFT_PREFIX}{layer.module}.{side}.weight")
        return tensor.float()


def read_adapter(manifest: ModelManifest, path: Path, base: Base) -> Adapter:
    """The adapter, checked to be of this very base.

    Raises EngineError: ``model_tampered``, ``not_an_adapter``, ``other_base`` or ``model_mismatch``.
    """
    check_file(manifest, path)
    architecture = manifest.architecture
    if not isinstance(architecture, LanguageArchitecture) or not architecture.adapter:
        raise EngineError(
            "not_an_adapter",
            "The model is no adapter: there is nothing to merge.",
            field="inputs/manifest",
            value=architecture.type,
            limit=N_("an adapter of a language model"),
            hint=N_("Give the model that a training with the method lora made."),
        )
    require_same_base(architecture, base)
    files = read_files(path)
    config = json.loads(files[ADAPTER_CONFIG])
    model = build_empty_model(base.config)
    with torch.device("meta"):
        add_adapters(model, build_peft_config(config))
    layers = {layer.target: layer for layer in list_adapter_layers(model)}
    check_tensors(path, model)
    return Adapter(path, layers, config["lora_alpha"] / config["r"], files)


def build_peft_config(values: Mapping[str, Any]) -> Any:
    """The adapters' description, of which only what this engine writes is taken."""
    from peft import LoraConfig

    names = ("r", "lora_alpha", "lora_dropout", "target_modules", "target_parameters", "task_type")
    return LoraConfig(**{name: values[name] for name in names})


def require_same_base(architecture: LanguageArchitecture, base: Base) -> None:
    """The base's tensors and configuration are those that the adapter was trained beside."""
    for name in sorted({*architecture.base, *base.digests}):
        if not name.endswith((".safetensors", "config.json")) or name in (
            "generation_config.json",
            "tokenizer_config.json",
        ):
            continue
        expected, actual = architecture.base.get(name), base.digests.get(name)
        if expected != actual:
            raise EngineError(
                "other_base",
                "{name} of the base model is not the one that the adapter was trained beside.",
                name=name,
                field="inputs/base",
                value=actual or "none",
                limit=expected or "none",
                hint=N_("Give the base model that the adapter's manifest names by its digests."),
            )


def check_tensors(path: Path, model: Any) -> None:
    """The file holds just the tensors that its configuration names."""
    header, _ = read_header(path)
    expected = {
        f"{PEFT_PREFIX}{name.replace('.default.', '.')}": tuple(value.shape)
        for name, value in model.named_parameters()
        if "lora_" in name
    }
    shapes = {name: info.shape for name, info in header.items()}
    for name in sorted({*expected, *shapes}):
        if expected.get(name) != shapes.get(name):
            raise EngineError(
                "model_mismatch",
                "The tensor {name!r} of the model file does not fit the architecture in its manifest.",
                name=name,
                field="inputs/model",
                value=f"{name}: {shapes.get(name, 'none')}",
                limit=f"{name}: {expected.get(name, 'none')}",
                hint=N_("Take the model and the manifest from one folder."),
            )


def merge_tensor(adapter: Adapter, base: Base, info: TensorInfo) -> Tensor:
    """One tensor of the base with what the adapter adds, in the base's own type; the sum is taken in float32."""
    stored = base.tensors[info.name]
    with safetensors.safe_open(base.folder / stored.file, framework="pt") as file:
        tensor: Tensor = file.get_tensor(info.name)
    delta = adapter.compute_delta(stored.target)
    return tensor if delta is None else (tensor.float() + delta).to(tensor.dtype)
