"""The vocabulary of a model file, and the weights of an earlier one to go on from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.spec import WEIGHTS
from deepseek.entities.tokens import RESERVED
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import EntitiesArchitecture
from deepseek.models.network import read_assets, refuse_pickle

FIELD = f"inputs/{WEIGHTS}"
TABLE = "words.weight"  # the tensor whose rows are those of the vocabulary
TOKENIZER: Final = 1  # another number where a text would be cut into other tokens


class Assets(BaseModel):
    """What a model file keeps beside its weights: `continuation` is as `decode_tags` takes it, for each label."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tokenizer: Literal[1] = TOKENIZER
    vocabulary: list[str]
    labels: list[str]
    continuation: list[Annotated[float, Field(gt=0, lt=1)]]


def read_model_assets(path: Path, architecture: EntitiesArchitecture | None, field: str = "inputs/model") -> Assets:
    """The assets of the file at `path`, which fit the architecture where that is known.

    Raises EngineError ``model_mismatch``, or what `read_assets` does.
    """
    record = read_assets(path, field)
    try:
        assets = Assets.model_validate(record)
        if architecture and (len(assets.vocabulary), assets.labels) != (architecture.words, architecture.labels):
            raise ValueError(f"{len(assets.vocabulary)} words of {', '.join(assets.labels)}")
        if len(assets.continuation) != len(assets.labels):
            raise ValueError(f"{len(assets.continuation)} shares of continuation for {len(assets.labels)} labels")
    except ValueError as error:  # pydantic's among them
        raise EngineError(
            "model_mismatch",
            "The model file has no vocabulary that fits its network.",
            field=field,
            value=str(error).splitlines()[0][:200],
            limit="none" if architecture is None else f"{architecture.words} words",
            hint=N_("Give the model.safetensors that `deepseek train-entities` wrote."),
        ) from error
    return assets


def merge_vocabulary(known: Sequence[str], found: Sequence[str]) -> list[str]:
    """The words of earlier weights, each with its vector, then those that only the new texts have."""
    words = set(known)
    return [*known, *(word for word in found if word not in words)]


def load_weights(network: EntitiesNetwork, architecture: EntitiesArchitecture, path: Path, assets: Assets) -> None:
    """Start from the weights at `path`, whose vocabulary is the beginning of the network's.

    Raises EngineError ``weights_mismatch`` for other labels, or with the first tensor of another architecture.
    """
    if assets.labels != list(architecture.labels):
        raise EngineError(
            "weights_mismatch",
            "The weights were trained for other labels.",
            field="/labels",
            value=", ".join(architecture.labels),
            limit=", ".join(assets.labels),
            hint=N_("Name the same labels in the same order, or train from random weights."),
        )
    size = len(assets.vocabulary) + RESERVED
    expected: dict[str, Tensor] = dict(network.state_dict())
    expected[TABLE] = torch.empty(size, architecture.width, device="meta")
    weights = _read_tensors(path)
    for name in [*expected, *sorted(set(weights) - set(expected))]:
        if _describe(expected.get(name)) != _describe(weights.get(name)):
            raise _build_mismatch_error(name, expected.get(name), weights.get(name))
    with torch.no_grad():
        network.words.weight[:size] = weights.pop(TABLE)
    network.load_state_dict(weights, strict=False)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    refuse_pickle(path, FIELD)
    tensors: dict[str, Tensor] = safetensors.torch.load_file(path)  # its header was read already, for the assets
    return tensors


def _describe(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _build_mismatch_error(name: str, expected: Tensor | None, actual: Tensor | None) -> EngineError:
    return EngineError(
        "weights_mismatch",
        "The weights are of another network than the spec describes: the tensor {name!r} does not fit.",
        name=name,
        field=FIELD,
        value=f"{name}: {_describe(actual)}",
        limit=f"{name}: {_describe(expected)}",
        hint=N_("Give the spec the width, layers, heads and buckets of the training that made the weights."),
    )
