"""What of a network can be computed before it is compiled: numpy does it, where TVM would compile each step."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir.expr import GenericConst
from tvm.ir.prim.expr import FloatImm, IntImm
from tvm.relax.expr_functor import PyExprMutator, mutator

_BINARY: dict[str, Callable[..., Any]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
}


def fold_constants(module: Any) -> Any:
    """`module` with each call whose arguments are all known replaced by its value, for the calls that numpy knows."""
    folder = _Folder(module)
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            folder.builder_.update_func(name, folder.visit_expr(function))
    return relax.transform.DeadCodeElimination()(folder.builder_.get())


def read_constant(value: Any) -> Any:
    """The array or number that an expression holds; None if it is not known."""
    if isinstance(value, GenericConst):
        return value.value.numpy()
    return value.value if isinstance(value, IntImm | FloatImm) else None


@mutator
class _Folder(PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Any) -> Any:
        call = self.visit_expr_post_order(call)
        existing = [self._read(argument) for argument in call.args]
        if not call.args or any(value is None for value in existing):
            return call
        value = _compute(call, existing)
        return call if value is None else relax.const(np.ascontiguousarray(value), str(call.ty.dtype))

    def _read(self, argument: Any) -> Any:
        if isinstance(argument, relax.Var):
            argument = self.lookup_binding(argument)
        if isinstance(argument, relax.ShapeExpr):
            return [int(size) for size in argument.values]
        return read_constant(argument)


def _compute(call: Any, known: list[Any]) -> Any:
    name = getattr(call.op, "name", "")
    if name in _BINARY:
        return _BINARY[name](*known)
    if name == "relax.sqrt":
        return np.sqrt(known[0])
    if name == "relax.permute_dims":
        return np.transpose(known[0], None if call.attrs.axes is None else [int(axis) for axis in call.attrs.axes])
    if name in ("relax.reshape", "relax.expand_dims", "relax.squeeze"):
        return np.reshape(known[0], [int(size) for size in call.ty.shape.values])
    if name == "relax.broadcast_to":
        return np.broadcast_to(known[0], known[1])
    if name == "relax.astype":
        return known[0].astype(str(call.attrs.dtype))
    if name == "relax.arange":
        return np.arange(*known)
    if name == "relax.clip":
        return np.clip(*known)
    if name == "relax.take" and known[1].min() >= 0 and known[1].max() < known[0].shape[int(call.attrs.axis)]:
        return np.take(known[0], known[1], axis=int(call.attrs.axis))
    return None
