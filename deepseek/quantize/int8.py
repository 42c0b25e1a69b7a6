"""The two TorchScript forms of a network: as it is, and with 8-bit weights in its linear layers."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.mlp import MlpNetwork

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
"""Libraries for 8-bit products, best first; qnnpack is the one on ARM. The file is the same with each of them."""


def export(network: MlpNetwork) -> torch.jit.ScriptModule:
    """The network as frozen TorchScript, by `torch.jit.trace`, as the source text does. It takes any number of rows."""
    return _trace(network, network.inputs)


def quantize(network: MlpNetwork) -> torch.jit.ScriptModule:
    """The network with its linear layers quantized dynamically, as frozen TorchScript; vectors of categories stay fp32.

    Weights become signed 8-bit integers, one scale per layer; inputs of a layer are quantized as they come, with the
    range of the batch at hand, so a row's outputs depend a little on its batch. Everything else stays fp32.
    `torch.ao.quantization.quantize_dynamic` is the call of the source text; torch 2.13 has it still, marks it as
    deprecated, and names torchao its heir.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of each deprecated step, and none that is news to the user
        smaller = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            copy.deepcopy(network), {nn.Linear}, dtype=torch.qint8
        )
        return _trace(smaller, network.inputs)


@contextmanager
def choose_quantized_engine() -> Iterator[str]:
    """Choose torch's library for 8-bit products for a while; yields its name. Raises EngineError ``no_int8``."""
    supported, before = torch.backends.quantized.supported_engines, torch.backends.quantized.engine
    chosen = next((name for name in ENGINES if name in supported), None)
    if chosen is None:
        raise EngineError(
            "no_int8",
            "This build of torch has no library for 8-bit products.",
            field="/dtype",
            value=", ".join(supported) or "none",
            limit=" or ".join(ENGINES),
            hint=N_("Install a build of torch for this processor, or quantize on another machine."),
        )
    torch.backends.quantized.engine = chosen
    try:
        yield chosen
    finally:
        torch.backends.quantized.engine = before


def _trace(module: nn.Module, inputs: int) -> torch.jit.ScriptModule:
    example = torch.zeros(2, inputs)  # two rows: with one, tracing may take the number of rows for a constant
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
        return cast(torch.jit.ScriptModule, torch.jit.freeze(traced))
