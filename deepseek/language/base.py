"""The folder of a base model: what it must hold, and everything that is refused before a byte of it is loaded."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.language.architecture import ARCHITECTURES, NameMap, Target, build_config, build_empty_model
from deepseek.language.errors import build_base_error
from deepseek.language.tensor_files import TYPES, TensorInfo, read_header
from deepseek.messages import N_, Message
from deepseek.models.manifest import compute_file_sha256

CONFIG, TOKENIZER, INDEX, SINGLE = (
    "config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
    "model.safetensors",
)
COPIED = (CONFIG, "generation_config.json", TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")
"""What of a base, beside its tensors, the trained model needs too; and its template."""
TEMPLATE = "chat_template.jinja"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
MAX_TEXT_BYTES = 64 << 20  # of one file that goes into the header of the trained model
LAYER = re.compile(r"\blayers\.(\d{1,9})\.")
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the folder: its file, how the file describes it, and where it belongs."""

    file: str
    info: TensorInfo
    target: Target


@dataclass(frozen=True)
class Base:
    """A folder that was checked. `digests`: each of its files that is used -> SHA-256."""

    folder: Path
    config: Any  # of transformers
    digests: dict[str, str]
    tensors: dict[str, StoredTensor]
    files: dict[str, str]  # name -> text of what goes along with the trained model

    @property
    def model_type(self) -> str:
        return str(self.config.model_type)

    @property
    def context(self) -> int:
        """Positions that the model has."""
        return int(self.config.max_position_embeddings)


def read_base(folder: Path) -> Base:
    """Check the folder and describe it.

    Raises EngineError: ``base_unreadable``, ``base_architecture``, ``base_unsafe`` (pickles, code of its own),
    ``base_quantized``, ``base_shard_missing`` or ``base_mismatch``.
    """
    if not folder.is_dir():
        raise build_base_error(
            folder,
            Message("it is no folder"),
            hint=N_("Give the folder with config.json, tokenizer.json and the safetensors files."),
            limit=N_("a folder"),
        )
    refuse_unsafe_files(folder)
    document = read_json(folder / CONFIG)
    check_architecture(folder, document)
    files = read_files(folder)
    shards = list_shards(folder)
    try:
        config = build_config(document)
        model = build_empty_model(config)
    except Exception as error:  # what a wrong configuration raises is of many libraries
        why = Message("its {file} is not taken: {error}", file=CONFIG, error=str(error).strip().splitlines()[0][:200])
        raise build_base_error(
            folder, why, hint=N_("Copy the folder again, or correct its config.json."), limit=CONFIG
        ) from error
    tensors = match_tensors(folder, model, shards)
    names = sorted({*files, *shards, *([INDEX] if (folder / INDEX).is_file() else [])})
    return Base(folder, config, {name: compute_file_sha256(folder / name) for name in names}, tensors, files)


def refuse_unsafe_files(folder: Path) -> None:
    """No pickle and no code lies in the folder: neither is ever opened, and none is to be taken for part of it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in PICKLES:
            what = N_("{name} is a pickle: opening it could run any code, so the folder was not loaded.")
            raise build_unsafe_error(path, what, N_("Keep the safetensors files alone; convert what is only there."))
        if path.suffix == ".py":
            what = N_("{name} is code that the base model brings: none of it is run, so the folder was not loaded.")
            raise build_unsafe_error(path, what, N_("Remove it: the architectures taken are part of transformers."))


def build_unsafe_error(path: Path, what: str, hint: str) -> EngineError:
    return EngineError(
        "base_unsafe",
        what,
        name=path.name,
        field="inputs/base",
        value=path.name,
        limit=N_("safetensors and JSON"),
        hint=hint,
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the folder."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = Message(
            "its {file} cannot be read: {error}", file=path.name, error=getattr(error, "strerror", None) or error
        )
        raise build_base_error(
            path.parent, why, hint=N_("Copy the folder again, with all its files."), limit=path.name
        ) from error
    if not isinstance(document, dict):
        why = Message("its {file} is no JSON object", file=path.name)
        raise build_base_error(path.parent, why, hint=N_("Copy the folder again, with all its files."), limit=path.name)
    return document


def check_architecture(folder: Path, document: Mapping[str, Any]) -> None:
    """The configuration names an architecture that is taken, and nothing that would need code or other numbers."""
    model_type, classes = document.get("model_type"), document.get("architectures") or []
    expected = ARCHITECTURES.get(str(model_type))
    if expected is None or (classes and list(classes) != [expected]):
        raise EngineError(
            "base_architecture",
            "The base model is of the architecture {found}.",
            found=", ".join(map(str, [model_type, *classes])),
            field="inputs/base",
            value=str(model_type),
            limit=", ".join(ARCHITECTURES),
            hint=N_("Give a base model of one of these architectures."),
        )
    settings = folder / "tokenizer_config.json"
    tokenizer = read_json(settings) if settings.is_file() else {}
    for path, content in ((folder / CONFIG, document), (settings, tokenizer)):
        if content.get("auto_map"):
            what = N_("{name} names code of its own (auto_map): none of it is run, so the folder was not loaded.")
            raise build_unsafe_error(
                path, what, N_("Remove the key auto_map: transformers has the architecture itself.")
            )
    if document.get("quantization_config"):
        raise EngineError(
            "base_quantized",
            "The base model's numbers are quantized, and training needs bf16, fp16 or fp32.",
            field="inputs/base",
            value="quantization_config",
            limit=N_("bf16, fp16 or fp32"),
            hint=N_("Convert the checkpoint to bf16 first, and remove quantization_config from its config.json."),
        )


def read_files(folder: Path) -> dict[str, str]:
    """The texts that go along with a trained model."""
    files = {}
    for name in (*COPIED, TEMPLATE):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MAX_TEXT_BYTES:
            why = Message("its {file} has {size} bytes", file=name, size=path.stat().st_size)
            raise build_base_error(folder, why, hint=N_("Give a file of the usual size."), limit=str(MAX_TEXT_BYTES))
        files[name] = path.read_text(encoding="utf-8")
    if TOKENIZER not in files:
        why = Message("it has no {file}", file=TOKENIZER)
        raise build_base_error(folder, why, hint=N_("Save the tokenizer in its fast form beside it."), limit=TOKENIZER)
    return files


def list_shards(folder: Path) -> dict[str, dict[str, TensorInfo]]:
    """The safetensors files of the model, each with its tensors. Raises EngineError ``base_shard_missing``."""
    expected: dict[str, set[str]] = {}
    if (folder / INDEX).is_file():
        weight_map = read_json(folder / INDEX).get("weight_map")
        for name, file in (weight_map or {}).items() if isinstance(weight_map, dict) else ():
            expected.setdefault(str(file), set()).add(str(name))
    else:
        expected = {SINGLE: set()}
    shards = {}
    for file, names in sorted(expected.items()):
        if "/" in file or not (folder / file).is_file():
            raise build_shard_error(folder, file, Message("there is no such file"))
        try:
            tensors, _ = read_header(folder / file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise build_shard_error(folder, file, str(error)) from error
        if missing := sorted(names - set(tensors)):
            raise build_shard_error(folder, file, Message("it lacks the tensor {tensor}", tensor=missing[0]))
        shards[file] = tensors
    if not shards:
        raise build_shard_error(folder, INDEX, Message("it names no file"))
    return shards


def build_shard_error(folder: Path, file: str, why: str) -> EngineError:
    return EngineError(
        "base_shard_missing",
        "{file} of the base model {name} cannot be used: {why}.",
        file=file,
        name=folder.name,
        why=why,
        field="inputs/base",
        value=file,
        limit=N_("every safetensors file that the index names"),
        hint=N_("Copy the folder again, with all its files, and compare their SHA-256."),
    )


def match_tensors(folder: Path, model: Any, shards: Mapping[str, Mapping[str, TensorInfo]]) -> dict[str, StoredTensor]:
    """Every tensor with its place in the network. Raises EngineError ``base_mismatch`` for one that does not fit."""
    names, state = NameMap(model), model.state_dict()
    filled: dict[str, int] = {}
    tensors = {}
    for file, contents in shards.items():
        for name, info in contents.items():
            target = names.find(name)
            if target.name not in state:
                if is_ignored(name, model.config.num_hidden_layers):
                    continue
                raise build_mismatch_error(name, describe(info), "none")
            shape = tuple(state[target.name].shape)
            is_float = state[target.name].is_floating_point()
            if target.select(shape) != info.shape or info.dtype not in (FLOATS if is_float else TYPES):
                raise build_mismatch_error(name, describe(info), f"{target.select(shape)}")
            filled[target.name] = filled.get(target.name, 0) + info.count
            tensors[name] = StoredTensor(file, info, target)
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if model.config.tie_word_embeddings else set()
    for name, tensor in state.items():
        if filled.get(name, 0) != tensor.numel() and name not in tied:
            raise build_mismatch_error(name, f"{filled.get(name, 0)} numbers", f"{tuple(tensor.shape)}")
    return tensors


def is_ignored(name: str, layers: int) -> bool:
    """Whether the tensor predicts further tokens: published checkpoints have such, the network has none."""
    number = LAYER.search(name)
    return "mtp." in name or (number is not None and int(number[1]) >= layers)


def describe(info: TensorInfo) -> str:
    return f"{info.dtype} {info.shape}"


def build_mismatch_error(name: str, found: str, wanted: str) -> EngineError:
    return EngineError(
        "base_mismatch",
        "The tensor {name!r} of the base model does not fit its config.json.",
        name=name,
        field="inputs/base",
        value=f"{name}: {found}",
        limit=f"{name}: {wanted}",
        hint=N_("Take the configuration and the safetensors files from one folder."),
    )
