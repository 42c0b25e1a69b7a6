"""Weights from a file as the start of a training: of torchvision, or of a model that was trained here."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from deepseek.images.network import FINAL_LAYERS, ImageNetwork
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.assets import refuse_pickle

FIELD = "inputs/weights"
_OWN = "backbone."  # how the names begin in a model of ours
_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of the safetensors file at `path`, by the names that torchvision gives them.

    Raises EngineError ``model_unsafe`` for a pickle, which is never opened, and ``model_unreadable``.
    """
    refuse_pickle(path, FIELD)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError, KeyError) as error:
        raise EngineError(
            "model_unreadable",
            "{path_name} is no safetensors file: {why}.",
            path_name=path.name,
            why=str(error)[:200],
            field=FIELD,
            value=path.name,
            limit="a safetensors file",
            hint=N_("Save a state dict with safetensors.torch.save_file."),
        ) from error
    if any(name.startswith(_OWN) for name in tensors):
        return {name.removeprefix(_OWN): tensor for name, tensor in tensors.items() if name.startswith(_OWN)}
    return tensors


def load_weights(network: ImageNetwork, tensors: Mapping[str, Tensor]) -> bool:
    """Take the tensors into the network; False where its last layer stays fresh, as it has other classes.

    Raises EngineError ``weights_mismatch`` with the first tensor of another architecture.
    """
    final = FINAL_LAYERS[network.architecture.backbone]
    expected = network.backbone.state_dict()
    last = {name for name in expected if name.startswith(f"{final}.")}
    fits = all(name in tensors and tensors[name].shape == expected[name].shape for name in last)
    merged = dict(expected)
    for name in [*expected, *sorted(set(tensors) - set(expected))]:
        if (name in last and not fits) or (name not in tensors and name.endswith(".num_batches_tracked")):
            continue
        if not _match(expected.get(name), tensors.get(name)):
            raise _build_mismatch_error(network, name, expected.get(name), tensors.get(name))
        merged[name] = tensors[name].to(expected[name].dtype)
    network.backbone.load_state_dict(merged)
    return fits


def _match(expected: Tensor | None, actual: Tensor | None) -> bool:
    if expected is None or actual is None or expected.shape != actual.shape:
        return False
    return actual.dtype in _NUMBERS if expected.is_floating_point() else not actual.is_floating_point()


def _build_mismatch_error(
    network: ImageNetwork, name: str, expected: Tensor | None, actual: Tensor | None
) -> EngineError:
    def describe(tensor: Tensor | None) -> str:
        return "none" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

    return EngineError(
        "weights_mismatch",
        "The weights are of another network than {backbone}: the tensor {name!r} does not fit.",
        backbone=network.architecture.backbone,
        name=name,
        field=FIELD,
        value=f"{name}: {describe(actual)}",
        limit=f"{name}: {describe(expected)}",
        hint=N_("Choose the network that the weights are of; only the last layer may have other classes."),
    )
