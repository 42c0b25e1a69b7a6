"""The ONNX forms of a network: as it is, with 8-bit weights, and with 8-bit activations of calibrated ranges too.

onnx, onnxscript and onnxruntime are imported where they are used: without them these candidates are left out.
"""

import ast
import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from deepseek.export.forms import OPSET, export_program
from deepseek.models.assets import ASSETS
from deepseek.models.machine import get_arch, read_cpu_flags
from deepseek.quantize.subjects import Array, Subject

DYNAMIC_OPERATORS = ["MatMul", "Gather"]
"""Products, and tables of vectors. Convolutions with dynamic ranges are slower than fp32: those get a static form."""
STATIC_OPERATORS = ["Conv", "MatMul", "Gemm", "Add", "MaxPool", "Relu", "GlobalAveragePool", "ReduceMean"]
WEIGHTED = ("Conv", "MatMul", "Gemm")
_SCOPES = "pkg.torch.onnx.name_scopes"


def write_fp32(subject: Subject, path: Path) -> None:
    """The network in ONNX, each node under the name of the layer that it is of; equal networks give equal bytes."""
    example, axes = subject.draw_example(), subject.axes
    program = export_program(subject.network, example, axes)
    with _silence(), torch.no_grad():
        created = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[axes.input_name],
            output_names=[axes.output_name],
            dynamic_shapes=axes.build_shapes(),
            verbose=False,
        )
    assert created is not None  # noqa: S101  as the exporter without a file answers
    for place, node in enumerate(created.model.graph.all_nodes()):
        node.name = f"{_read_layer(node.metadata_props.get(_SCOPES, ''))}/{place}"
        node.metadata_props.clear()  # they quote the paths of sources
    created.save(path, external_data=False)


def _read_layer(scopes: str) -> str:
    """The layer that a node was made for: the last scope but one, which is of the operator."""
    try:
        names = ast.literal_eval(scopes)
    except (ValueError, SyntaxError):
        return ""
    return str(names[-2]) if isinstance(names, list) and len(names) > 1 else ""


def write_dynamic(source: Path, path: Path, subject: Subject, kept: Collection[str]) -> None:
    """Weights of 8 bits, a scale for each output channel; inputs are rounded by the range of the batch at hand."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    operators = DYNAMIC_OPERATORS if subject.family == "entities" else DYNAMIC_OPERATORS[:1]
    with _silence():
        quantize_dynamic(
            str(source),
            str(path),
            op_types_to_quantize=operators,
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list_kept_nodes(source, kept),
        )


def write_static(
    source: Path, path: Path, subject: Subject, kept: Collection[str], calibration: Sequence[Array]
) -> None:
    """Weights and activations of 8 bits around each operator (QDQ); the ranges are those of the calibration rows."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name, batches = subject.axes.input_name, iter(calibration)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            batch = next(batches, None)
            return None if batch is None else {name: batch}

    flags = read_cpu_flags()
    is_x86 = get_arch() == "x86_64"
    with _silence():
        quantize_static(
            str(source),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=STATIC_OPERATORS,
            per_channel=True,
            # On x86 products of two signed integers are slow, and without VNNI those of 8 bits may overflow.
            activation_type=QuantType.QUInt8 if is_x86 else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            reduce_range=is_x86 and not flags & {"avx512_vnni", "avx_vnni"},
            nodes_to_exclude=list_kept_nodes(source, kept, with_sources=True),
        )


def list_kept_nodes(source: Path, kept: Collection[str], *, with_sources: bool = False) -> list[str]:
    """The nodes of the layers that stay in fp32, under the names that they have before and after preparation.

    `with_sources`: and the nodes that their inputs come from, back to the layers before them. A static form rounds the
    outputs of what it quantizes: those layers would get inputs of 8 bits, which is what they cannot bear.
    """
    import onnx

    if not kept:
        return []
    nodes = list(onnx.load(source).graph.node)
    makers = {output: node for node in nodes for output in node.output}
    chosen = {node.name: node for node in nodes if node.name.partition("/")[0] in kept}
    waiting = [name for node in chosen.values() for name in node.input] if with_sources else []
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None or maker.name in chosen:
            continue
        chosen[maker.name] = maker
        if maker.op_type not in WEIGHTED:
            waiting += maker.input
    return [*chosen, *(f"{name}_MatMul" for name in chosen)]


def finish_file(path: Path, assets: str | None) -> None:
    """Leave nothing in the metadata but the assets, so that equal models give equal bytes."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    if assets is not None:
        model.metadata_props.add(key=ASSETS, value=assets)
    model.producer_name, model.producer_version = "deepseek", ""
    path.write_bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _silence() -> Iterator[None]:
    """Exporter and quantizer log what they do, and give advice about files that they made themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
