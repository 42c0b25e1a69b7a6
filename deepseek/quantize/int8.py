"""The two TorchScript forms of a network: as it is, and with 8-bit weights in its linear layers."""

import copy
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepseek.export.faults import refuse_branches
from deepseek.job import EngineError
from deepseek.messages import N_

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
"""Libraries for 8-bit products, best first; qnnpack is the one on ARM. The file is the same with each of them."""


def quantize_network(network: nn.Module, kept: Collection[str] = ()) -> nn.Module:
    """The network with its linear layers quantized dynamically, but those that are `kept`; all else stays fp32.

    Weights become signed 8-bit integers, one scale per layer; inputs of a layer are quantized as they come, with the
    range of the batch at hand, so a row's outputs depend a little on its batch.
    `torch.ao.quantization.quantize_dynamic` is the call of the source text; torch 2.13 has it still, marks it as
    deprecated, and names torchao its heir.
    """
    layers: Any = {nn.Linear}
    if kept:
        layers = {nn.Linear: torch.ao.quantization.default_dynamic_qconfig, **dict.fromkeys(kept)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of each deprecated step, and none that is news to the user
        quantized = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            copy.deepcopy(network), layers, dtype=torch.qint8
        )
    return cast(nn.Module, quantized)


def trace(network: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """The network as frozen TorchScript, by `torch.jit.trace`, as the source text does. It takes any number of rows.

    Raises EngineError ``export_branch``.
    """
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        traced = torch.jit.trace(network.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
        frozen = cast(torch.jit.ScriptModule, torch.jit.freeze(traced))
    refuse_branches(caught)
    return frozen


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
