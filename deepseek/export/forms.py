"""The forms of an exported network: how each is written, and how it is opened again to be compared."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from deepseek.export.faults import refuse_branches
from deepseek.models.torchscript import write_archive

Forward = Callable[[Tensor], Tensor]
FILE_NAMES = {"pt2": "model.pt2", "torchscript": "model.pt", "onnx": "model.onnx"}
MEDIA_TYPES = {
    "pt2": "application/vnd.torch.export",
    "torchscript": "application/vnd.torchscript",
    "onnx": "application/vnd.onnx",
}
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20
INLINE_BYTES = 1 << 30
"""Weights of more bytes go into a file beside the ONNX model: its own format ends at 2 GB."""


@dataclass(frozen=True)
class Axes:
    """Which axes of the input may have any length: axis -> its name and the largest length (None: any)."""

    input_name: str
    output_name: str
    dynamic: dict[int, tuple[str, int | None]]

    def build_shapes(self) -> tuple[dict[int, Any]]:
        """As torch.export takes them."""
        return ({at: torch.export.Dim(name, min=1, max=most) for at, (name, most) in self.dynamic.items()},)


def list_missing_packages() -> list[str]:
    """The packages of ONNX that are not installed."""
    return [name for name in ONNX_PACKAGES if find_spec(name) is None]


def trace(network: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """The network as frozen TorchScript. Raises EngineError ``export_branch``."""
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        frozen = cast(torch.jit.ScriptModule, torch.jit.freeze(traced))
    refuse_branches(caught)
    return frozen


def write_torchscript(module: torch.jit.ScriptModule, path: Path) -> None:
    """Equal networks give equal bytes."""
    write_archive(module, path)


def export_program(network: nn.Module, example: Tensor, axes: Axes) -> torch.export.ExportedProgram:
    """The graph of the network, in which the axes have any length; without the paths of this machine's sources."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (example,), dynamic_shapes=axes.build_shapes())
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def write_pt2(program: torch.export.ExportedProgram, path: Path) -> None:
    """The archive that `torch.export.load` reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)


def write_onnx(program: torch.export.ExportedProgram, path: Path, axes: Axes) -> None:
    """The ONNX model; large weights go into ``model.onnx.data`` beside it."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[axes.input_name],
            output_names=[axes.output_name],
            dynamic_shapes=axes.build_shapes(),
            verbose=False,
        )
    assert model is not None  # noqa: S101  as the exporter without a file answers
    for node in model.model.graph.all_nodes():
        node.metadata_props.clear()  # they quote the paths of sources
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    model.save(path, external_data=size > INLINE_BYTES)


def open_torchscript(path: Path) -> Forward:
    """The module in the file that was just written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast(Forward, torch.jit.load(path, map_location="cpu"))  # type: ignore[no-untyped-call]


def open_pt2(path: Path) -> Forward:
    """The program in the file that was just written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast(Forward, torch.export.load(path).module())


def open_onnx(path: Path) -> Forward:
    """The model in the file that was just written, run by ONNX Runtime on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: torch.from_numpy(session.run(None, {name: values.numpy()})[0])


OPENERS: dict[str, Callable[[Path], Forward]] = {"pt2": open_pt2, "torchscript": open_torchscript, "onnx": open_onnx}
