"""A trained language model, loaded from its file; an adapter, beside its base."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch

from deepseek.job import EngineError
from deepseek.language.adapter import Adapter, build_peft_config, read_adapter
from deepseek.language.base import Base, read_base
from deepseek.language.errors import require_packages
from deepseek.language.network import ADAPTER, LanguageNetwork, add_adapters, load_causal, load_tokenizer
from deepseek.language.outputs import ADAPTER_CONFIG, PEFT_PREFIX
from deepseek.language.unpack import open_base, read_files, write_folder
from deepseek.messages import N_
from deepseek.models.manifest import ModelManifest, check_file


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to predict, its tokenizer, and how many positions it has."""

    network: LanguageNetwork
    tokenizer: Any
    context: int


def load_model(manifest: ModelManifest, path: Path, base_path: Path | None = None) -> LoadedModel:
    """The model in the file at `path`; an adapter beside its base at `base_path`, a folder or a whole model's file.

    Raises EngineError: ``model_tampered``, ``adapter_alone`` for an adapter without a base, ``not_an_adapter`` for a
    whole model with one, ``other_base``, and what `read_base` finds wrong.
    """
    require_packages()
    check_file(manifest, path)
    files = read_files(path)
    if ADAPTER_CONFIG in files:
        if base_path is None:
            raise EngineError(
                "adapter_alone",
                "The model is an adapter, which answers nothing without its base.",
                field="inputs/base",
                value="adapter",
                limit=N_("a whole model"),
                hint=N_("Give the base where one is taken, or merge the two first: deepseek merge."),
            )
        with open_base(base_path) as folder:
            base = read_base(folder)
            return load_adapted(base, read_adapter(manifest, path, base))
    if base_path is not None:
        raise EngineError(
            "not_an_adapter",
            "The model is whole: it takes no base beside it.",
            field="inputs/base",
            value=manifest.variant,
            limit=N_("an adapter of a language model"),
            hint=N_("Leave the base out."),
        )
    with TemporaryDirectory(prefix="model-") as name:
        write_folder(Path(name), files, path)
        base = read_base(Path(name))
        tokenizer = load_tokenizer(base.folder, base.files)
        causal = load_causal(base.folder, base.model_type).requires_grad_(False)
    return LoadedModel(LanguageNetwork(causal), tokenizer, base.context)


def load_adapted(base: Base, adapter: Adapter) -> LoadedModel:
    """The base's network with the adapter's layers in it, and the tokenizer that the adapter brings."""
    causal = load_causal(base.folder, base.model_type)
    add_adapters(causal, build_peft_config(adapter.read_config()))
    tensors = safetensors.torch.load_file(adapter.path)
    named = {f"{PEFT_PREFIX}{name.replace(f'.{ADAPTER}.', '.')}": value for name, value in causal.named_parameters()}
    for name, tensor in tensors.items():
        named[name].data.copy_(tensor)
    with TemporaryDirectory(prefix="tokenizer-") as folder:
        files = {name: text for name, text in adapter.files.items() if name != ADAPTER_CONFIG}
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8", newline="")
        tokenizer = load_tokenizer(Path(folder), files)
    return LoadedModel(LanguageNetwork(causal.eval().requires_grad_(False)), tokenizer, base.context)
