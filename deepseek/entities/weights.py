"""The weights of an earlier training, to go on from."""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.spec import WEIGHTS
from deepseek.entities.tokens import RESERVED
from deepseek.entities.vocabulary import Assets
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.assets import refuse_pickle
from deepseek.models.manifest import EntitiesArchitecture

FIELD = f"inputs/{WEIGHTS}"
TABLE = "words.weight"  # the tensor whose rows are those of the vocabulary


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
