"""TVM's compiled libraries: opened only where they are code for this machine, then arrays in and arrays out."""

import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.models.machine import get_arch, read_cpu_flags, read_elf_machine
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, ModelManifest
from deepseek.models.manifest import build_manifest_error as bad_manifest
from deepseek.models.packages import is_installed

Floats = npt.NDArray[np.float32]
Call = Callable[[], object]

RUNTIME_PACKAGE, RUNTIME_NAME = "deepseek_tvm_runtime", "libtvm_runtime.so"
"""The package of a device that has TVM's runtime and nothing else of it (deploy/agent), and its library."""
ALIGNMENT = 64
"""Bytes; TVM's kernels load whole vectors."""
_CPU, _POOLED = 1, 2  # DLPack's number of the processor, and the VM's of memory that is kept between calls


class TvmLibrary:
    """A compiled library: arrays in, arrays out. One call takes as many rows as it was compiled for: fewer are filled
    up with zeros, more are split."""

    def __init__(self, manifest: ModelManifest, path: Path) -> None:
        self.batch = count_in_machine(manifest, "batch")
        self._open_machine, runtime = _open_library(path, manifest)
        self._tensor, self._read = runtime.make_tensor, runtime.read_tensor
        self._functions = threading.local()  # a machine keeps its registers between calls: each thread has one

    def bind(self, rows: npt.NDArray[Any]) -> Call:
        """A call on just these rows, with nothing around it: for timing."""
        main, chunks = self._get_functions().main, self._split(rows)
        if len(chunks) == 1:
            only = chunks[0]
            return lambda: main(only)
        return lambda: [main(chunk) for chunk in chunks]

    def run(self, rows: npt.NDArray[Any]) -> Floats:
        """Outputs of the network for at least one row."""
        main = self._get_functions().main
        outputs = [self._read(main(chunk)[0]) for chunk in self._split(rows)]
        return np.asarray(np.concatenate(outputs)[: len(rows)])

    def read_assets(self) -> str:
        """What the library carries beside the network, as JSON."""
        return bytes(self._read(self._get_functions().machine["assets"]())).decode()

    def _get_functions(self) -> threading.local:
        """Those of this thread's virtual machine; the weights are those of all."""
        functions = self._functions
        if not hasattr(functions, "main"):
            functions.machine = self._open_machine()
            functions.main = functions.machine["main"]
        return functions

    def _split(self, rows: npt.NDArray[Any]) -> list[Any]:
        short = -len(rows) % self.batch
        if short:
            rows = np.concatenate([rows, np.zeros((short, *rows.shape[1:]), rows.dtype)])
        return [self._tensor(rows[i : i + self.batch]) for i in range(0, len(rows), self.batch)]


def count_in_machine(manifest: ModelManifest, name: str) -> int:
    """A number above 0 that a compiled model's manifest has to have. Raises ``manifest_unreadable``."""
    count = manifest.machine.get(name)
    if isinstance(count, int) and count > 0:
        return count
    raise bad_manifest(Path(MANIFEST_NAME), f"/machine/{name}: a compiled model needs a number above 0")


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
    if not is_installed("tvm"):
        raise _build_package_error("tvm is not installed")


def find_runtime_library() -> Path | None:
    """TVM's runtime out of the package that a device has in place of all of TVM; None if there is none."""
    if not is_installed(RUNTIME_PACKAGE):
        return None
    spec = importlib.util.find_spec(RUNTIME_PACKAGE)
    path = Path(str(spec.origin)).parent / "lib" / RUNTIME_NAME if spec else None
    return path if path and path.is_file() else None


def use_tvm_threads(count: int) -> None:
    """Let TVM compute with `count` threads, from its first parallel call on.

    TVM takes the number from the environment alone, and OMP_NUM_THREADS before its own choice; it would also tie this
    thread to one core, where torch's threads could no longer follow.
    """
    os.environ["TVM_NUM_THREADS"] = str(count)
    os.environ["TVM_BIND_THREADS"] = "0"


def _build_package_error(value: str) -> EngineError:
    return EngineError(
        "package_missing",
        "A compiled model needs the package apache-tvm.",
        field="inputs/model",
        value=value,
        limit="apache-tvm 0.27",
        hint=N_("Install it: python -m pip install 'apache-tvm>=0.27,<0.28' apache-tvm-ffi==0.1.14.post0"),
    )


class _Runtime(NamedTuple):
    """How a library is used: what opens it, gives a machine of it and its functions by name, makes a tensor of an
    array, and an array of a tensor."""

    version: str
    load: Callable[[Path], Any]
    open_machine: Callable[[Any], Any]
    make_tensor: Callable[[npt.NDArray[Any]], Any]
    read_tensor: Callable[[Any], npt.NDArray[Any]]


def _open_library(path: Path, manifest: ModelManifest) -> tuple[Callable[[], Any], _Runtime]:
    """What makes a virtual machine of the library at `path`, and the runtime that it is used with."""
    use_tvm_threads(count_in_machine(manifest, "threads"))
    runtime = _find_runtime()
    try:
        with TemporaryDirectory() as folder:
            # TVM tells a library by its suffix, and a job's inputs have none. `tvm.runtime` would follow the link.
            library = Path(folder, FILE_NAMES["tvm"])
            library.symlink_to(path.absolute())
            module = runtime.load(library)
        runtime.open_machine(module)["main"]
    except (RuntimeError, OSError, ValueError, AttributeError) as error:
        version = manifest.machine.get("tvm", "an unknown version")
        first = str(error).strip().splitlines()[-1][:200]
        raise build_model_error(path, f"{first} (made by TVM {version}, opened by {runtime.version})") from error
    return lambda: runtime.open_machine(module), runtime


def _find_runtime() -> _Runtime:
    """All of TVM where it is installed, else its runtime alone. Raises EngineError ``package_missing``."""
    if is_installed("tvm"):
        return _load_tvm()
    library = find_runtime_library()
    if library is None or not is_installed("tvm_ffi"):
        raise _build_package_error(f"{'tvm' if library is None else 'tvm_ffi'} is not installed")
    return _load_runtime(library)


def _load_tvm() -> _Runtime:
    import tvm
    import tvm_ffi
    from tvm import relax

    return _Runtime(
        tvm.__version__,
        tvm_ffi.load_module,
        lambda module: relax.VirtualMachine(module, tvm.cpu()),
        lambda rows: tvm.runtime.tensor(rows, tvm.cpu()),
        lambda tensor: tensor.numpy(),
    )


def _load_runtime(library: Path) -> _Runtime:
    """The runtime alone: 5 MB beside the 300 MB of all of TVM, whose compiler a device never needs."""
    import tvm_ffi

    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)  # registers TVM's virtual machine

    def open_machine(module: Any) -> Any:
        machine = module["vm_load_executable"]()
        machine["vm_initialization"](_CPU, 0, _POOLED)
        return machine

    def make_tensor(rows: npt.NDArray[Any]) -> Any:
        buffer = np.empty(rows.nbytes + ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT
        aligned = buffer[start : start + rows.nbytes].view(rows.dtype).reshape(rows.shape)
        aligned[...] = rows
        return tvm_ffi.from_dlpack(aligned)

    return _Runtime(f"{tvm_ffi.__version__} (runtime)", tvm_ffi.load_module, open_machine, make_tensor, np.from_dlpack)
