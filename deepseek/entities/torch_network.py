"""The network of a model of entities as it was trained, run by PyTorch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from deepseek.entities.network import EntitiesNetwork
from deepseek.entities.tokens import Ids
from deepseek.models.manifest import ModelManifest
from deepseek.models.network import load_network

Shares = npt.NDArray[np.float32]


def build_torch_network(network: EntitiesNetwork) -> Callable[[Ids], Shares]:
    """The network, as `EntitiesPredictor` calls it."""

    def run(tokens: Ids) -> Shares:
        with torch.inference_mode():
            shares: Shares = network(torch.from_numpy(tokens)).numpy()
        return shares

    return run


def load_torch_network(manifest: ModelManifest, path: Path) -> Callable[[Ids], Shares]:
    """The network in the safetensors file at `path`. Raises what `load_network` does."""
    network = load_network(manifest, path)
    assert isinstance(network, EntitiesNetwork)  # noqa: S101  as its manifest says
    return build_torch_network(network)
