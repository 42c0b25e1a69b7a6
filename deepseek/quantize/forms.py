"""Make the forms of a model and open them: the parent, fp32 in other runtimes, and the 8-bit candidates."""

import copy
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from deepseek.export.faults import translate_failure
from deepseek.job import EngineError
from deepseek.models.assets import encode_assets
from deepseek.models.manifest import FILE_NAMES
from deepseek.models.onnx_file import open_session
from deepseek.models.torchscript import read_archive, write_archive
from deepseek.quantize import int8, onnx_forms
from deepseek.quantize.candidates import (
    DYNAMIC,
    ONNX,
    ONNX_DYNAMIC,
    PARENT,
    STATIC,
    TORCHAO,
    TORCHSCRIPT,
    build_operator_error,
    choose_candidates,
)
from deepseek.quantize.document import LeftOut
from deepseek.quantize.spec import QuantizeSpec
from deepseek.quantize.subjects import Array, Forward, Subject, TextsSubject, draw_calibration

UNSUPPORTED = ("export_operator", "export_failed", "operator_unsupported")
Module = Callable[[torch.Tensor], torch.Tensor]
Bind = Callable[[Array], Callable[[], object]]


@dataclass(frozen=True)
class Opened:
    """A form that is ready: `forward` computes, `bind` gives a call on just these inputs, for timing."""

    forward: Forward
    bind: Bind


@dataclass
class Form:
    """One form of the model. `open_with` takes a number of threads; what torch runs follows torch's own setting."""

    name: str
    runtime: Literal["torch", "onnxruntime"]
    format: Literal["torchscript", "onnx"] | None  # None: it has no file that the loaders take
    path: Path | None
    size: int
    open_with: Callable[[int], Opened]
    layers_in_fp32: list[str]
    calibration_rows: int | None = None

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        return "fp32" if self.name.startswith("fp32") else "int8"


class FormBuilder:
    """Makes forms below the folder `stage`, each in a folder of its name; the layers `kept` stay in fp32."""

    def __init__(
        self, subject: Subject, spec: QuantizeSpec, inputs: Mapping[str, Path], stage: Path, kept: Sequence[str]
    ) -> None:
        self.subject, self.spec, self.inputs, self.stage, self.kept = subject, spec, inputs, stage, list(kept)

    def build_all(self, advance: Callable[[int, int], object]) -> tuple[list[Form], list[LeftOut]]:
        """Every form that fits, the parent first, and what is left out.

        Raises EngineError ``export_branch``, ``candidate_unfit``, ``calibration_one_class``; of a candidate that the
        spec names also ``package_missing``, and ``operator_unsupported`` or what the export raises.
        """
        names, left_out = choose_candidates(self.subject.family, self.spec)
        forms = [self._open_parent()]
        for place, name in enumerate(names):
            advance(place, len(names))
            try:
                forms.append(self._build(name))
            except EngineError as error:
                if error.code not in UNSUPPORTED or name == TORCHSCRIPT or name in self.spec.candidates:
                    raise
                left_out.append(LeftOut(name=name, reason="operator_unsupported", detail=error.value or ""))
                shutil.rmtree(self.stage / name, ignore_errors=True)
        advance(len(names), len(names))
        return forms, left_out

    def _build(self, name: str) -> Form:
        if name == TORCHAO:
            return self._build_torchao()
        folder = self.stage / name
        folder.mkdir()
        if name in (TORCHSCRIPT, DYNAMIC):
            return self._build_torchscript(name, folder / FILE_NAMES["torchscript"])
        return self._build_onnx(name, folder / FILE_NAMES["onnx"])

    def _open_parent(self) -> Form:
        network = self.subject.network
        opened = Opened(self.subject.forward, _bind_module(network))
        return Form(PARENT, "torch", None, None, self.subject.manifest.file.size, lambda _: opened, [])

    def _build_torchscript(self, name: str, path: Path) -> Form:
        """Frozen TorchScript. Of a model of texts the loaders take no such file: it has no place for a vocabulary."""
        network: nn.Module = self.subject.network
        kept_layers = self.kept if name == DYNAMIC else []
        if name == DYNAMIC:
            network = int8.quantize_network(network, kept_layers)
        with translate_failure("torchscript", []):
            module = int8.trace(network, self.subject.draw_example())
        write_archive(module, path)
        is_text = isinstance(self.subject, TextsSubject)

        def open_module(_: int) -> Opened:
            try:
                opened = module if is_text else read_archive(path)
            except EngineError as error:
                raise build_operator_error(name, f"it calls {error.value}.") from error
            return Opened(_build_forward(opened), _bind_module(opened))

        return Form(
            name, "torch", None if is_text else "torchscript", path, path.stat().st_size, open_module, kept_layers
        )

    def _build_onnx(self, name: str, path: Path) -> Form:
        source, calibration, kept_layers = self.stage / ONNX / FILE_NAMES["onnx"], list[Array](), list[str]()
        if name == STATIC:
            calibration = draw_calibration(self.subject, self.inputs, self.spec.calibration_rows)
        if name != ONNX and not source.exists():  # it could not be written
            raise build_operator_error(name, "it has no form in ONNX.")
        if name == ONNX:
            with translate_failure("onnx", []):
                onnx_forms.write_fp32(self.subject, path)
        else:
            kept_layers = self.kept
            try:
                if name == ONNX_DYNAMIC:
                    onnx_forms.write_dynamic(source, path, self.subject, kept_layers)
                else:
                    onnx_forms.write_static(source, path, self.subject, kept_layers, calibration)
            except (MemoryError, OSError):
                raise
            except Exception as error:  # its quantizer has no classes of its own
                raise build_operator_error(name, str(error) or type(error).__name__) from error
        return self._finish_onnx(name, path, kept_layers, sum(map(len, calibration)) or None)

    def _finish_onnx(self, name: str, path: Path, kept: list[str], calibration_rows: int | None) -> Form:
        subject = self.subject
        assets = encode_assets(subject.assets.model_dump(mode="json")) if isinstance(subject, TextsSubject) else None
        onnx_forms.finish_file(path, assets)
        try:
            open_session(path, 1)
        except EngineError as error:
            if error.code == "model_unreadable":
                raise build_operator_error(name, str(error.message)) from error
            raise
        return Form(
            name,
            "onnxruntime",
            "onnx",
            path,
            path.stat().st_size,
            lambda threads: _open_onnx(path, threads),
            kept,
            calibration_rows,
        )

    def _build_torchao(self) -> Form:
        """Measured beside the others where it is installed; its weights have no file that only holds numbers."""
        network = copy.deepcopy(self.subject.network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

            def is_quantized(module: nn.Module, name: str) -> bool:
                return isinstance(module, nn.Linear) and name not in self.kept

            try:
                quantize_(network, Int8DynamicActivationInt8WeightConfig(), filter_fn=is_quantized)
                opened = Opened(_build_forward(network), _bind_module(network))
                opened.forward(self.subject.take_batch(1))
            except Exception as error:  # whatever torch has against the network
                raise build_operator_error(TORCHAO, str(error)) from error
        size = sum(_count_bytes(tensor) for tensor in network.state_dict().values())
        return Form(TORCHAO, "torch", None, None, size, lambda _: opened, self.kept)


def _count_bytes(tensor: Any) -> int:
    """Bytes of a tensor; a quantized one of torchao is made of several."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_count_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return int(tensor.numel() * tensor.element_size())


def _open_onnx(path: Path, threads: int) -> Opened:
    session = open_session(path, threads)
    name = session.get_inputs()[0].name

    def bind(values: Array) -> Callable[[], object]:
        feed = {name: np.ascontiguousarray(values)}
        return lambda: session.run(None, feed)

    return Opened(lambda values: session.run(None, {name: np.ascontiguousarray(values)})[0], bind)


def _bind_module(module: Module) -> Bind:
    def bind(values: Array) -> Callable[[], object]:
        rows = torch.from_numpy(np.ascontiguousarray(values))
        return lambda: module(rows)

    return bind


def _build_forward(module: Module) -> Forward:
    def forward(values: Array) -> Array:
        with torch.inference_mode():
            return module(torch.from_numpy(np.ascontiguousarray(values))).numpy()

    return forward
