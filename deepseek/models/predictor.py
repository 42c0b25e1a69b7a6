"""One way to use a model in any of its forms: rows in, outputs out.

Before anything is opened, its SHA-256 is compared with the manifest. Then a safetensors file is only numbers, a
TorchScript file is checked to do nothing but compute, and a compiled library is machine code, which nothing can check
further: whoever wrote both the library and its manifest is trusted.
"""

import importlib.util
import math
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.models.folder import find_model_files
from deepseek.models.machine import get_arch, read_cpu_flags, read_elf_machine
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, ModelManifest, check_file
from deepseek.models.manifest import build_manifest_error as bad_manifest
from deepseek.models.network import load_network
from deepseek.models.torchscript import read_archive

Floats = npt.NDArray[np.float32]
Call = Callable[[], object]

_CHUNK, _CHUNK_VALUES = 8192, 1 << 24  # rows, and numbers, of one call of torch: memory does not grow with the rows


class Predictor(ABC):
    """A model that is ready to predict."""

    def __init__(self, manifest: ModelManifest) -> None:
        self.manifest = manifest
        self.shape = manifest.architecture.input_shape  # of one example
        self.inputs = math.prod(self.shape)
        self.outputs = manifest.architecture.outputs
        self.codes = manifest.list_codes()  # of the inputs that take categories

    def predict(self, features: Floats) -> Floats:
        """Outputs (n, C), float32, for raw features (n, F), float32; of an image model F is (3, height, width).

        An input that takes categories holds a code (`ModelManifest.list_codes`); NaN there is no category. Raises
        EngineError ``shape_mismatch``.
        """
        if features.shape[1:] != self.shape:
            raise build_shape_error(self.shape, features.shape)
        features = np.ascontiguousarray(features, dtype=np.float32)
        if self.codes:  # of NaN a compiled library would make an address
            features = features.copy()
            for place, codes in self.codes.items():
                np.nan_to_num(features[:, place], copy=False, nan=len(codes), posinf=len(codes), neginf=len(codes))
        if not len(features):
            return np.empty((0, self.outputs), np.float32)
        return self._predict(features)

    @abstractmethod
    def bind(self, features: Floats) -> Call:
        """A call of the model on just these rows, with nothing around it: for timing, in torch's inference mode."""

    @abstractmethod
    def _predict(self, features: Floats) -> Floats: ...


class TorchPredictor(Predictor):
    """The network itself, or a TorchScript module."""

    def __init__(self, manifest: ModelManifest, module: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(manifest)
        self.module = module

    def bind(self, features: Floats) -> Call:
        module, rows = self.module, torch.from_numpy(np.ascontiguousarray(features))
        return lambda: module(rows)

    def _predict(self, features: Floats) -> Floats:
        rows = torch.from_numpy(features)
        with torch.inference_mode():
            size = max(1, min(_CHUNK, _CHUNK_VALUES // self.inputs))
            if len(rows) <= size:
                return self.module(rows).numpy()
            return torch.cat([self.module(chunk) for chunk in torch.split(rows, size)]).numpy()


class TvmPredictor(Predictor):
    """A compiled library. One call takes as many rows as it was compiled for: fewer are filled up, more are split."""

    def __init__(self, manifest: ModelManifest, path: Path) -> None:
        super().__init__(manifest)
        self.batch = _count(manifest, "batch")
        self._main, self._tensor = _open_library(path, manifest)
        self._lock = threading.Lock()  # its virtual machine keeps its registers between calls

    def bind(self, features: Floats) -> Call:
        main, chunks = self._main, self._split(features)
        if len(chunks) == 1:
            only = chunks[0]
            return lambda: main(only)
        return lambda: [main(chunk) for chunk in chunks]

    def _predict(self, features: Floats) -> Floats:
        with self._lock:
            outputs = [self._main(chunk)[0].numpy() for chunk in self._split(features)]
        return np.asarray(np.concatenate(outputs)[: len(features)])

    def _split(self, features: Floats) -> list[Any]:
        short = -len(features) % self.batch
        if short:
            features = np.concatenate([features, np.zeros((short, self.inputs), np.float32)])
        return [self._tensor(features[i : i + self.batch]) for i in range(0, len(features), self.batch)]


def _count(manifest: ModelManifest, name: str) -> int:
    count = manifest.machine.get(name)
    if isinstance(count, int) and count > 0:
        return count
    raise bad_manifest(Path(MANIFEST_NAME), f"/machine/{name}: a compiled model needs a number above 0")


def load_predictor(folder: Path) -> Predictor:
    """The model in a folder of ``model.json`` and the file that it names.

    Raises EngineError: ``no_model_folder``, ``model_file_missing``, and what `open_model` raises.
    """
    files = find_model_files(folder)
    return open_model(ModelManifest.read(files["manifest"]), files["model"])


def open_model(manifest: ModelManifest, path: Path) -> Predictor:
    """The model in the file at `path`, whatever its format.

    Raises EngineError: ``model_tampered``, ``model_unsafe``, ``model_unreadable``, ``model_mismatch``, or
    ``machine_mismatch`` (compiled for another processor).
    """
    if manifest.format == "safetensors":
        return TorchPredictor(manifest, load_network(manifest, path))
    check_file(manifest, path)
    if manifest.format == "torchscript":
        return _verify_predictor(TorchPredictor(manifest, read_archive(path)), path)
    check_machine(manifest, path)
    return _verify_predictor(TvmPredictor(manifest, path), path)


def _verify_predictor(predictor: Predictor, path: Path) -> Predictor:
    """`predictor`, once one row has gone through it and come out with the width that the manifest names."""
    try:
        shape = predictor.predict(np.zeros((1, *predictor.shape), np.float32)).shape
        observed = f"outputs of shape {shape}"
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        shape, observed = (), str(error).strip().splitlines()[-1][:200]
    if shape == (1, predictor.outputs):
        return predictor
    raise EngineError(
        "model_mismatch",
        "{path_name} does not take or give what its manifest says.",
        path_name=path.name,
        field="inputs/model",
        value=observed,
        limit=f"features (rows, {predictor.inputs}), outputs (rows, {predictor.outputs})",
        hint=N_("Take the model and the manifest from one folder."),
    )


def check_machine(manifest: ModelManifest, path: Path) -> None:
    """Raise EngineError unless the library at `path` is code for this machine: a wrong one would end the process."""
    machine = read_elf_machine(path)
    if machine is None:
        raise build_model_error(path, "it has no ELF header.")
    needs = manifest.machine.get("needs", [])
    if not (isinstance(needs, list) and all(isinstance(flag, str) for flag in needs)):
        raise bad_manifest(Path(MANIFEST_NAME), "/machine/needs: names of what the processor must have are wanted")
    missing = sorted(set(needs) - read_cpu_flags()) if machine == get_arch() else []
    if machine == get_arch() and not missing:
        return
    lacks = Message(", and this processor lacks {missing}", missing=", ".join(missing)) if missing else ""
    raise EngineError(
        "machine_mismatch",
        "The model was compiled for {mcpu} ({found}){lacks}.",
        mcpu=manifest.machine.get("mcpu", machine),
        found=machine,
        lacks=lacks,
        field="inputs/model",
        value=f"{machine} {manifest.machine.get('mcpu', '')}".strip(),
        limit=get_arch(),
        hint=N_("Compile the trained model on a machine like this one, or take its fp32 or int8 form."),
    )


def build_shape_error(expected: Sequence[int], shape: Sequence[int]) -> EngineError:
    """The error for features of another shape than the model takes of one example."""
    return EngineError(
        "shape_mismatch",
        "The model takes {wanted} features a row.",
        wanted=" x ".join(map(str, expected)),
        field="features",
        value=f"shape ({', '.join(map(str, shape))})",
        limit=f"shape (rows, {', '.join(map(str, expected))})",
        hint=N_("Give the features that the manifest lists, in its order."),
    )


def build_model_error(path: Path, why: str) -> EngineError:
    return EngineError(
        "model_unreadable",
        "{path_name} is no compiled model: {why}",
        path_name=path.name,
        why=why,
        field="inputs/model",
        value=path.name,
        limit="a library that `deepseek compile` wrote",
        hint=N_("Copy it again and compare its SHA-256 with the manifest, or compile the model again."),
    )


def require_tvm() -> None:
    """Raise EngineError ``package_missing`` where TVM is not installed."""
    if importlib.util.find_spec("tvm"):
        return
    raise EngineError(
        "package_missing",
        "A compiled model needs the package apache-tvm.",
        field="inputs/model",
        value="tvm is not installed",
        limit="apache-tvm 0.27",
        hint=N_("Install it: python -m pip install 'apache-tvm>=0.27,<0.28' apache-tvm-ffi==0.1.14.post0"),
    )


def use_tvm_threads(count: int) -> None:
    """Let TVM compute with `count` threads, from its first parallel call on.

    TVM takes the number from the environment alone, and OMP_NUM_THREADS before its own choice; it would also tie this
    thread to one core, where torch's threads could no longer follow.
    """
    os.environ["TVM_NUM_THREADS"] = str(count)
    os.environ["TVM_BIND_THREADS"] = "0"


def _open_library(path: Path, manifest: ModelManifest) -> tuple[Callable[[Any], Any], Callable[[Floats], Any]]:
    require_tvm()
    use_tvm_threads(_count(manifest, "threads"))
    import tvm
    import tvm_ffi
    from tvm import relax

    try:
        with TemporaryDirectory() as folder:
            # TVM tells a library by its suffix, and a job's inputs have none. `tvm.runtime` would follow the link.
            library = Path(folder, FILE_NAMES["tvm"])
            library.symlink_to(path.absolute())
            machine = relax.VirtualMachine(tvm_ffi.load_module(library), tvm.cpu())
        main = machine["main"]
    except (RuntimeError, OSError, ValueError, AttributeError) as error:
        version = manifest.machine.get("tvm", "an unknown version")
        first = str(error).strip().splitlines()[-1][:200]
        raise build_model_error(path, f"{first} (made by TVM {version}, opened by {tvm.__version__})") from error
    return main, lambda rows: tvm.runtime.tensor(rows, tvm.cpu())
