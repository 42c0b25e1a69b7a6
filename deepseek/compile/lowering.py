"""From the network to TVM's kernels: torch.export, relax, and one fused function per layer."""

import copy
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import tvm
from torch import Tensor, nn
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.relax.frontend.torch import from_exported_program

from deepseek.compile.constants import fold_constants, read_constant
from deepseek.compile.products import build_legalizers
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.mlp import MlpNetwork

LAYOUTS = {"relax.nn.conv2d": ["NHWC", "HWIO"]}
"""Channels last, as products.py wants them; what lies between two convolutions follows."""


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


def lower(network: nn.Module, example: Tensor, target: Any, lanes: int) -> Any:
    """The IRModule of `network` for inputs like `example`: constants folded, each product fused with what follows.

    Raises EngineError ``compile_operator`` naming an operator that TVM does not take.
    """
    if isinstance(network, MlpNetwork):
        network = widen_network(network, lanes)
    with warnings.catch_warnings(), torch.no_grad(), _translate_failure():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (example,))
        module = from_exported_program(program, keep_params_as_input=False)
    transform, run = relax.transform, tvm.transform.Sequential
    with target:
        module = run(
            [
                transform.FoldBatchnormToConv2D(),
                transform.DecomposeOpsForInference(),
                transform.CanonicalizeBindings(),
            ]
        )(module)
        module = fold_constants(_replace_calls(module))
        module = run([transform.ConvertLayout(LAYOUTS), transform.CanonicalizeBindings()])(module)
        module = fold_constants(module)
        return run(
            [
                # tanh and exp as polynomials, which go through vectors; libm's take one value at a time. Their largest
                # relative errors are 4e-7 and 2e-6, and the run compares the outputs with PyTorch's.
                transform.FastMathTransform(),
                transform.LegalizeOps(build_legalizers(lanes)),
                transform.AnnotateTIROpPattern(),
                transform.FoldConstant(),
                transform.FuseOps(),
                transform.FuseTIR(),
            ]
        )(module)


def replace_kernels(module: Any, kernels: Mapping[str, Any]) -> Any:
    """`module` with some of its functions, by name, replaced by scheduled ones."""
    module = module.clone()
    for name in list(module.functions):
        if name.name_hint in kernels:
            module[name] = kernels[name.name_hint]
    return module


def add_assets(module: Any, text: str) -> Any:
    """`module` with a function ``assets``, which gives the bytes of `text`: what a model needs beside its network."""
    builder = relax.BlockBuilder(module)
    with builder.function("assets", []):
        with builder.dataflow():
            value = builder.emit_output(relax.const(np.frombuffer(text.encode(), np.uint8), "uint8"))
        builder.emit_func_output(value)
    return builder.get()


def _replace_calls(module: Any) -> Any:
    """`module` with calls that mean the same and suit what follows better."""
    replacer = _Replacer(module)
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            replacer.builder_.update_func(name, replacer.visit_expr(function))
    return replacer.builder_.get()


@mutator
class _Replacer(PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        name = getattr(call.op, "name", "")
        if name == "relax.clip" and "float" in str(call.ty.dtype):  # a layout goes through these two
            low, high = (relax.const(float(read_constant(bound)), str(call.ty.dtype)) for bound in call.args[1:])
            return relax.op.minimum(self.builder_.emit(relax.op.maximum(call.args[0], low)), high)
        if name == "relax.nn.gelu":  # its own erf would go value by value
            return self._build_gelu(call.args[0], str(call.ty.dtype))
        if name == "relax.take":  # "fast" would read beside the table where an index is wrong
            return relax.op.take(*call.args, axis=call.attrs.axis, mode="clip")
        return call

    def _build_gelu(self, values: Any, dtype: str) -> Any:
        def emit(value: Any) -> Any:
            return self.builder_.emit(value)

        share = emit(relax.op.erf(emit(relax.op.multiply(values, relax.const(math.sqrt(0.5), dtype)))))
        return relax.op.multiply(
            emit(relax.op.multiply(values, relax.const(0.5, dtype))),
            emit(relax.op.add(share, relax.const(1.0, dtype))),
        )


@contextmanager
def _translate_failure() -> Iterator[None]:
    """Name the operator that the way to TVM stopped at."""
    try:
        yield
    except (AssertionError, NotImplementedError, ValueError, TypeError, KeyError, RuntimeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        matches = re.search(
            r"\b(?:aten|prims|torchvision)[.:]+[\w.]+|\b[a-z_0-9]+\.(?:default|Tensor|Scalar|int)\b", first
        )
        raise EngineError(
            "compile_operator",
            "TVM does not take the operator {operator} of this network.",
            operator=matches.group() if matches else first,
            field="inputs/model",
            value=first,
            limit="operators that TVM's importer of torch.export knows",
            hint=N_("Replace that layer by one of linear layers, convolutions and activations, or export to ONNX."),
        ) from error
