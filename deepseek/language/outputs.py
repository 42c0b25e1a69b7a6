"""What a training of a language model leaves: the model, its figures, answers before and after, held-out texts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor

from deepseek.job import JSON
from deepseek.language.architecture import build_lora_config
from deepseek.language.base import Base
from deepseek.language.network import ADAPTER, LanguageNetwork
from deepseek.language.spec import LanguageSpec
from deepseek.language.tensor_files import describe_tensors, write_tensors
from deepseek.language.texts import Text
from deepseek.messages import Message
from deepseek.models.assets import ASSETS, encode_assets
from deepseek.models.figures import Metric
from deepseek.models.manifest import (
    FILE_NAMES,
    MANIFEST_NAME,
    LanguageArchitecture,
    ModelFile,
    ModelManifest,
    Signature,
    TensorSpec,
    compute_file_sha256,
)

SAMPLES_NAME, SAMPLES_TYPE = "samples.json", "application/vnd.plane.samples+json"
HELDOUT_NAME, HELDOUT_TYPE = "heldout.jsonl", "application/x-ndjson"
ADAPTER_CONFIG = "adapter_config.json"
FILES = "files"
"""The asset that holds the configuration, the tokenizer and the template: name -> text."""
PEFT_PREFIX = "base_model.model."


def build_architecture(base: Base, *, adapter: bool) -> LanguageArchitecture:
    """`adapter`: the file holds adapters alone, and the manifest names every file of their base by its digest."""
    return LanguageArchitecture(
        model_type=cast(Any, base.model_type),  # one of the two, or the folder would have been refused
        vocabulary=base.config.vocab_size,
        context=base.context,
        adapter=adapter,
        base=base.digests if adapter else {},
    )


def list_model_tensors(network: LanguageNetwork, spec: LanguageSpec) -> dict[str, Tensor]:
    """The tensors by the names of published checkpoints: those of a whole model, or of an adapter of peft."""
    causal = network.causal
    if spec.method == "lora":
        return {
            f"{PEFT_PREFIX}{name.replace(f'.{ADAPTER}.', '.')}": value
            for name, value in causal.named_parameters()
            if "lora_" in name
        }
    from transformers.core_model_loading import revert_weight_conversion

    state = dict(causal.state_dict())
    if causal.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    tensors: dict[str, Tensor] = revert_weight_conversion(causal, state)
    return tensors


def build_adapter_config(base: Base, spec: LanguageSpec) -> str:
    """``adapter_config.json`` as peft reads it; equal specs give equal bytes."""
    config = build_lora_config(base.model_type, spec.lora.rank, spec.lora.alpha, experts=spec.lora.experts).to_dict()
    serializable = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return json.dumps(serializable, sort_keys=True, indent=1, default=str) + "\n"


def save_language_model(
    network: LanguageNetwork, base: Base, spec: LanguageSpec, folder: Path, digests: Mapping[str, str]
) -> ModelManifest:
    """Write the model file and its manifest. The configuration and the tokenizer go into the file's header.

    Beside a whole model they lie as files too, so that the folder is one that transformers loads.
    """
    adapter = spec.method == "lora"
    files = dict(base.files)
    if adapter:
        files[ADAPTER_CONFIG] = build_adapter_config(base, spec)
    else:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
    tensors = list_model_tensors(network, spec)
    path = folder / FILE_NAMES["safetensors"]
    metadata = {ASSETS: encode_assets({FILES: files}), "format": "pt"}
    write_tensors(path, describe_tensors(tensors), lambda info: tensors[info.name], metadata)
    return write_manifest(
        folder, build_architecture(base, adapter=adapter), "fp32", digests, spec.model_dump(mode="json")
    )


def write_manifest(
    folder: Path,
    architecture: LanguageArchitecture,
    variant: str,
    digests: Mapping[str, str],
    spec: Mapping[str, Any],
    parent: str | None = None,
) -> ModelManifest:
    """Write ``model.json`` for the model file that lies in `folder`."""
    path = folder / FILE_NAMES["safetensors"]
    manifest = ModelManifest(
        schema="plane/model/v1",
        variant=variant,
        format="safetensors",
        file=ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size),
        task="language",
        target="answer",
        features=["messages"],
        signature=Signature(
            inputs=[TensorSpec(name="input_ids", dtype="int64", shape=[-1, -1])],
            outputs=[TensorSpec(name="logits", dtype="float32", shape=[-1, -1, architecture.vocabulary])],
        ),
        architecture=architecture,
        parent=parent,
        inputs=dict(digests),
        spec=dict(spec),
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def write_samples(path: Path, texts: Sequence[Text], before: Sequence[str], after: Sequence[str]) -> None:
    """What held-out prompts were answered before and after the training, beside what was to be answered."""
    samples: list[JSON] = [
        {"prompt": format_prompt(text), "target": text.answer, "before": old, "after": new}
        for text, old, new in zip(texts, before, after, strict=True)
    ]
    document = {"schema": "plane/samples/v1", "kind": "answers", "samples": samples}
    path.write_text(json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def format_prompt(text: Text) -> str:
    """The prompt as a reader sees it: the only message before the answer, or all of them with their roles."""
    if isinstance(text.prompt, str):
        return text.prompt
    if len(text.prompt) == 1:
        return text.prompt[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in text.prompt)


def write_heldout_texts(path: Path, texts: Sequence[Text]) -> None:
    """The held-out lines, from which every later form can be measured."""
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            record: dict[str, Any] = {"prompt": text.prompt, "completion": text.answer}
            if not isinstance(text.prompt, str):
                record = {"messages": [*text.prompt, {"role": "assistant", "content": text.answer}]}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def describe_difference(paired: Metric) -> str:
    """The figure's note: how far the trained model is from its base."""
    low, high = paired.low or 0.0, paired.high or 0.0
    verdict: Literal["better", "worse", "chance"] = "chance" if low <= 0 <= high else "better" if high < 0 else "worse"
    numbers = {"value": paired.value, "low": low, "high": high}
    texts = {
        "better": Message(
            # xgettext:no-python-format
            "perplexity against the base model on the same texts: {value:+.4g}, 95 % interval {low:+.4g} to "
            "{high:+.4g}; the trained model is better.",
            **numbers,
        ),
        "worse": Message(
            # xgettext:no-python-format
            "perplexity against the base model on the same texts: {value:+.4g}, 95 % interval {low:+.4g} to "
            "{high:+.4g}; the trained model is worse.",
            **numbers,
        ),
        "chance": Message(
            # xgettext:no-python-format
            "perplexity against the base model on the same texts: {value:+.4g}, 95 % interval {low:+.4g} to "
            "{high:+.4g}; that may be chance.",
            **numbers,
        ),
    }
    return texts[verdict]
