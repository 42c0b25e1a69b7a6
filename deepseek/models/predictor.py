"""One way to use a model in any of its forms: rows in, outputs out.

Before anything is opened, its SHA-256 is compared with the manifest. Then a safetensors file is only numbers, a
TorchScript or ONNX file is checked to do nothing but compute, and a compiled library is machine code, which nothing can
check further: whoever wrote both the library and its manifest is trusted.

Only the forms that PyTorch runs load it: a device without it opens ONNX files and compiled libraries.
"""

from pathlib import Path

import numpy as np

from deepseek.models.folder import find_model_files
from deepseek.models.manifest import ModelManifest, check_file
from deepseek.models.onnx_file import open_session
from deepseek.models.packages import TORCH_FORMATS, require_runtime
from deepseek.models.predictor_base import (
    Call,
    Floats,
    Predictor,
    build_mismatch_error,
    count_chunk_rows,
    verify_predictor,
)
from deepseek.models.tvm_library import TvmLibrary, check_machine


class OnnxPredictor(Predictor):
    """An ONNX model, run by ONNX Runtime on the processor, with `threads` threads; None: as many as torch."""

    def __init__(self, manifest: ModelManifest, path: Path, threads: int | None = None) -> None:
        super().__init__(manifest)
        self.session = open_session(path, threads)
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if [len(inputs), len(outputs)] != [1, 1] or inputs[0].type != "tensor(float)":
            raise build_mismatch_error(
                self, path, f"{', '.join(item.type for item in inputs) or 'no input'}; {len(outputs)} outputs"
            )
        self._input = inputs[0].name

    def bind(self, features: Floats) -> Call:
        run, feed = self.session.run, {self._input: np.ascontiguousarray(features)}
        return lambda: run(None, feed)

    def _predict(self, features: Floats) -> Floats:
        size = count_chunk_rows(self.inputs)
        parts = [
            self.session.run(None, {self._input: features[start : start + size]})[0]
            for start in range(0, len(features), size)
        ]
        return np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts))


class TvmPredictor(Predictor):
    """A compiled library of a model that takes numbers."""

    def __init__(self, manifest: ModelManifest, path: Path) -> None:
        super().__init__(manifest)
        self.library = TvmLibrary(manifest, path)
        self.batch = self.library.batch

    def bind(self, features: Floats) -> Call:
        return self.library.bind(features)

    def _predict(self, features: Floats) -> Floats:
        return self.library.run(features)


def load_predictor(folder: Path) -> Predictor:
    """The model in a folder of ``model.json`` and the file that it names.

    Raises EngineError: ``no_model_folder``, ``model_file_missing``, and what `open_model` raises.
    """
    files = find_model_files(folder)
    return open_model(ModelManifest.read(files["manifest"]), files["model"])


def open_model(manifest: ModelManifest, path: Path, threads: int | None = None) -> Predictor:
    """The model in the file at `path`, whatever its format. `threads`: of ONNX Runtime; None: as many as torch.

    Raises EngineError: ``model_tampered``, ``model_unsafe``, ``model_unreadable``, ``model_mismatch``, or
    ``machine_mismatch`` (compiled for another processor), ``package_missing`` or ``runtime_missing`` (what runs the
    format).
    """
    if manifest.format in TORCH_FORMATS:
        require_runtime(manifest)
        from deepseek.models.torch_predictor import open_torch_model

        return open_torch_model(manifest, path)
    check_file(manifest, path)
    if manifest.format == "onnx":
        return verify_predictor(OnnxPredictor(manifest, path, threads), path)
    check_machine(manifest, path)
    return verify_predictor(TvmPredictor(manifest, path), path)
