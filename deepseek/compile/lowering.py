"""From the network to TVM's kernels: torch.export, relax, and one fused function per layer."""

import copy
import warnings
from typing import Any

import torch
import tvm
from torch import Tensor, nn
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program

from deepseek.models.mlp import MlpNetwork


class Cut(nn.Module):
    """A linear layer with more outputs than are wanted: the first `outputs` of them."""

    def __init__(self, layer: nn.Linear, outputs: int) -> None:
        super().__init__()
        self.layer, self.outputs = layer, outputs

    def forward(self, values: Tensor) -> Tensor:
        """(n, wide) to (n, outputs)."""
        result: Tensor = self.layer(values)[..., : self.outputs]
        return result


def widen_network(network: MlpNetwork, lanes: int) -> MlpNetwork:
    """A network that gives the same outputs, each of its layers as wide as whole vector registers of `lanes` values.

    What is added has weights of zero, in its own layer and in the next. Products of other widths, a single output
    above all, would be computed one value at a time.
    """
    network = copy.deepcopy(network)
    layers = [(at, layer) for at, layer in enumerate(network.layers) if isinstance(layer, nn.Linear)]
    width = layers[0][1].in_features
    for at, layer in layers:
        wide = nn.Linear(width, -(-layer.out_features // lanes) * lanes)
        with torch.no_grad():
            wide.weight.zero_()
            wide.bias.zero_()
            wide.weight[: layer.out_features, : layer.in_features] = layer.weight
            wide.bias[: layer.out_features] = layer.bias
        cut = at == layers[-1][0] and wide.out_features != layer.out_features
        network.layers[at] = Cut(wide, layer.out_features) if cut else wide
        width = wide.out_features
    return network.eval().requires_grad_(False)


def lower(network: nn.Module, batch: int, inputs: int, target: Any) -> Any:
    """The IRModule of `network` for batches of `batch` rows: constants folded, each product fused with what follows."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.zeros(batch, inputs),))
        module = from_exported_program(program, keep_params_as_input=False)
    with target:
        return tvm.transform.Sequential(
            [
                relax.transform.DecomposeOpsForInference(),
                relax.transform.CanonicalizeBindings(),
                # tanh and exp as polynomials, which go through vectors; libm's take one value at a time. Their largest
                # relative errors are 4e-7 and 2e-6, and the run compares the outputs with PyTorch's.
                relax.transform.FastMathTransform(),
                relax.get_pipeline("zero"),
            ]
        )(module)


def replace_kernels(module: Any, kernels: dict[str, Any]) -> Any:
    """`module` with some of its functions, by name, replaced by scheduled ones."""
    module = module.clone()
    for name in list(module.functions):
        if name.name_hint in kernels:
            module[name] = kernels[name.name_hint]
    return module
