"""A language model as the training loop sees it, and the loading of one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepseek.language.architecture import ARCHITECTURES, build_lora_config
from deepseek.language.base import TEMPLATE, Base
from deepseek.language.errors import build_base_error
from deepseek.language.spec import LanguageSpec
from deepseek.messages import N_, Message
from deepseek.models.trainable import Trainable

ADAPTER = "default"  # peft's name of the one adapter
INDEXER = ".indexer."
"""Weights of deepseek_v4 that choose what is attended to: the choice has no gradient, so they stay as they are."""


class LanguageNetwork(Trainable):
    """The network of transformers behind the two calls that the loop makes."""

    def __init__(self, causal: Any) -> None:
        super().__init__()
        self.causal = causal

    def compute_logits(self, *inputs: Tensor) -> Tensor:
        """(places, vocabulary) for tokens (texts, length) and places in them, counted over all texts one by one.

        Only the places asked for: those of a whole batch would take more memory than the rest of the network.
        """
        tokens, places = inputs
        hidden = self.causal.model(input_ids=tokens, use_cache=False).last_hidden_state
        logits: Tensor = self.causal.lm_head(hidden.flatten(0, 1)[places])
        return logits


def load_causal(folder: Path, model_type: str, *, dtype: torch.dtype = torch.float32) -> Any:
    """The network with the folder's weights; nothing is fetched, and no code but transformers' own is run."""
    import transformers

    logging: Any = transformers.utils.logging
    logging.disable_progress_bar()
    causal = getattr(transformers, ARCHITECTURES[model_type]).from_pretrained(
        folder, dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    for name, parameter in causal.named_parameters():
        if INDEXER in name:
            parameter.requires_grad_(False)
    return causal.eval()


def load_tokenizer(folder: Path, files: Mapping[str, str]) -> Any:
    """The folder's tokenizer in its fast form. Raises EngineError ``base_unreadable``."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_fast=True)
        if TEMPLATE in files and not tokenizer.chat_template:
            tokenizer.chat_template = files[TEMPLATE]
        return tokenizer
    except Exception as error:  # what a damaged tokenizer.json raises is of many libraries
        why = Message("its tokenizer cannot be read: {error}", error=str(error).strip().splitlines()[0][:200])
        raise build_base_error(
            folder, why, hint=N_("Copy the folder again, with all its files."), limit="tokenizer.json"
        ) from error


def require_vocabulary(base: Base, tokenizer: Any) -> None:
    """Every token has an embedding. Raises EngineError ``base_unreadable``."""
    if len(tokenizer) <= base.config.vocab_size:
        return
    why = Message(
        "its tokenizer has {tokens} tokens, and the model {vocabulary}",
        tokens=len(tokenizer),
        vocabulary=base.config.vocab_size,
    )
    raise build_base_error(
        base.folder, why, hint=N_("Take tokenizer and weights from one folder."), limit=str(base.config.vocab_size)
    )


def build_network(base: Base, spec: LanguageSpec, *, dtype: torch.dtype = torch.float32) -> LanguageNetwork:
    """The base's network, with fresh adapters where the method is lora: those are all that is trained then."""
    causal = load_causal(base.folder, base.model_type, dtype=dtype)
    if spec.method == "lora":
        add_adapters(
            causal, build_lora_config(base.model_type, spec.lora.rank, spec.lora.alpha, experts=spec.lora.experts)
        )
    if spec.activation_checkpointing:
        causal.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return LanguageNetwork(causal)


def add_adapters(causal: Any, config: Any) -> None:
    """Put adapters into the network, in float32, which do nothing until they are trained; all else is frozen."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, causal, adapter_name=ADAPTER)
    for name, parameter in causal.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
