"""Matrix products and convolutions, computed so that one register tile fits them all (deepseek/compile/tiles.py).

Weights that are known are put into the order in which a tile reads them: for each vector of outputs, the whole depth.
Images have their channels last, so that a vector holds channels of one pixel: a convolution is then a matrix product
of pixels and channels whose depth is the window, without a copy of the windows (direct convolution, as in Georganas et
al., "Anatomy of High-Performance Deep Learning Convolutions on SIMD Architectures", 2018).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, topi
from tvm.ir import Op

from deepseek.compile.constants import read_constant

BLOCK = "product"
"""How the block that sums is named, whatever else its function computes."""
NAME = "layer"
"""The annotation of that block: which layer it is of, without its size."""


def build_legalizers(lanes: int) -> dict[str, Callable[[Any, Any], Any]]:
    """Operator -> how a call of it is lowered; what is not known or does not fit goes TVM's own way."""
    matmul, conv2d = (Op.get(name).get_attr("FLegalize") for name in ("relax.matmul", "relax.nn.conv2d"))

    def legalize_matmul(builder: Any, call: Any) -> Any:
        weight = _read_weight(builder, call.args[1])
        if weight is None or weight.ndim != 2:
            return matmul(builder, call)
        depth, columns = weight.shape
        vector = choose_vector(columns, lanes)
        wide = -(-columns // vector) * vector
        if wide > columns:
            weight = np.pad(weight, ((0, 0), (0, wide - columns)))
        packed = np.ascontiguousarray(weight.reshape(depth, wide // vector, vector).transpose(1, 0, 2))
        result = builder.call_te(_multiply, call.args[0], relax.const(packed, "float32"), primfunc_name_hint="matmul")
        if wide == columns:
            return result
        axis = len(call.ty.shape) - 1
        return relax.op.strided_slice(builder.emit(result), [axis], [0], [columns])

    def legalize_conv2d(builder: Any, call: Any) -> Any:
        attrs, weight = call.attrs, _read_weight(builder, call.args[1])
        if weight is None or (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NHWC", "HWIO", "NHWC"):
            return conv2d(builder, call)
        rows, columns, inputs, outputs = weight.shape
        groups, channels = int(attrs.groups), int(call.args[0].ty.shape[3])
        window = {
            "strides": [int(step) for step in attrs.strides],
            "padding": [int(size) for size in attrs.padding],
            "dilation": [int(step) for step in attrs.dilation],
        }
        if groups == 1:
            vector = choose_vector(outputs, lanes)
            if outputs % vector:
                return conv2d(builder, call)
            parts = weight.reshape(rows, columns, inputs, outputs // vector, vector).transpose(3, 0, 1, 2, 4)
            packed = relax.const(np.ascontiguousarray(parts), "float32")
            return builder.call_te(_convolve, call.args[0], packed, **window, primfunc_name_hint="conv2d")
        if groups == channels == outputs:
            packed = relax.const(np.ascontiguousarray(weight.reshape(rows, columns, outputs)), "float32")
            return builder.call_te(_convolve_each, call.args[0], packed, **window, primfunc_name_hint="depthwise")
        return conv2d(builder, call)

    return {"relax.matmul": legalize_matmul, "relax.nn.conv2d": legalize_conv2d}


def choose_vector(columns: int, lanes: int) -> int:
    """Outputs side by side in one register: all `lanes`, or half or a quarter of them where only these divide."""
    return next((size for size in (lanes, lanes // 2, lanes // 4) if size >= 4 and columns % size == 0), lanes)


def _read_weight(builder: Any, value: Any) -> Any:
    """The array, where it is a known one of float32."""
    if isinstance(value, relax.Var):
        value = builder.lookup_binding(value)
    weight = read_constant(value)
    return weight if isinstance(weight, np.ndarray) and weight.dtype == np.float32 else None


def _multiply(rows: Any, weight: Any) -> Any:
    """(..., depth) times packed (vectors, depth, lanes) to (..., outputs)."""
    vectors, depth, lanes = (int(size) for size in weight.shape)
    k = te.reduce_axis((0, depth), name="k")

    def sum_products(*at: Any) -> Any:
        return te.sum(rows(*at[:-1], k) * weight[at[-1] // lanes, k, at[-1] % lanes], axis=k)

    return te.compute((*rows.shape[:-1], vectors * lanes), sum_products, name=BLOCK, attrs={NAME: "linear"})


def _convolve(images: Any, weight: Any, strides: list[int], padding: list[int], dilation: list[int]) -> Any:
    """Images (n, height, width, channels) with packed (vectors, rows, columns, channels, lanes)."""
    vectors, rows, columns, channels, lanes = (int(size) for size in weight.shape)
    padded, height, width = _pad(images, rows, columns, strides, padding, dilation)
    y, x = te.reduce_axis((0, rows), name="y"), te.reduce_axis((0, columns), name="x")
    c = te.reduce_axis((0, channels), name="c")

    def sum_products(n: Any, row: Any, column: Any, output: Any) -> Any:
        pixel = padded[n, row * strides[0] + y * dilation[0], column * strides[1] + x * dilation[1], c]
        return te.sum(pixel * weight[output // lanes, y, x, c, output % lanes], axis=[y, x, c])

    name = f"conv2d {rows}x{columns}/{strides[0]}"
    shape = (images.shape[0], height, width, vectors * lanes)
    return te.compute(shape, sum_products, name=BLOCK, attrs={NAME: name})


def _convolve_each(images: Any, weight: Any, strides: list[int], padding: list[int], dilation: list[int]) -> Any:
    """Images (n, height, width, channels), each channel with its own window of (rows, columns, channels)."""
    rows, columns, channels = (int(size) for size in weight.shape)
    padded, height, width = _pad(images, rows, columns, strides, padding, dilation)
    y, x = te.reduce_axis((0, rows), name="y"), te.reduce_axis((0, columns), name="x")

    def sum_products(n: Any, row: Any, column: Any, c: Any) -> Any:
        pixel = padded[n, row * strides[0] + y * dilation[0], column * strides[1] + x * dilation[1], c]
        return te.sum(pixel * weight[y, x, c], axis=[y, x])

    name = f"depthwise {rows}x{columns}/{strides[0]}"
    return te.compute((images.shape[0], height, width, channels), sum_products, name=BLOCK, attrs={NAME: name})


def _pad(
    images: Any, rows: int, columns: int, strides: list[int], padding: list[int], dilation: list[int]
) -> tuple[Any, int, int]:
    """The images with zeros around them, and the height and width of what a window makes of them."""
    top, left, bottom, right = padding
    padded = topi.nn.pad(images, (0, top, left, 0), (0, bottom, right, 0), name="pad") if any(padding) else images
    height, width = (int(size) for size in padded.shape[1:3])
    return (
        padded,
        (height - dilation[0] * (rows - 1) - 1) // strides[0] + 1,
        (width - dilation[1] * (columns - 1) - 1) // strides[1] + 1,
    )
