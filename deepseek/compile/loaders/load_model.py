"""Load the model of this bundle into Python: the standard library is enough, numpy arrays are taken.

    from load_model import Model

    model = Model(".")
    answers = model.predict(rows)  # a buffer of shape (rows, ...), such as a numpy array

Every file of the bundle is compared with SHA256SUMS before anything is loaded.
"""

import ctypes
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

FORMATS = {"float32": "f", "int64": "q"}


class BundleError(Exception):
    """The bundle cannot be used here, or the rows do not fit the model."""


class Model:
    """A model that is ready to predict. `manifest`: what manifest.json says of it."""

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder).resolve()
        check_digests(folder)
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        try:
            self._library = library = ctypes.CDLL(str(folder / "libbundle.so"))
        except OSError as error:
            raise BundleError(
                f"libbundle.so cannot be loaded: {error}; build it from bundle.cpp (README.md)"
            ) from error
        library.bundle_open.restype = ctypes.c_void_p
        library.bundle_open.argtypes = [ctypes.c_char_p]
        library.bundle_error.restype = ctypes.c_char_p
        library.bundle_close.argtypes = [ctypes.c_void_p]
        library.bundle_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self._handle = library.bundle_open(str(folder).encode())
        if not self._handle:
            raise BundleError(library.bundle_error().decode())
        self.input, self.output = self.manifest["inputs"][0], self.manifest["outputs"][0]

    def predict(self, rows: Any) -> Any:
        """Answers for any number of rows, as a memoryview (rows, ...): `numpy.asarray` takes it."""
        view = memoryview(rows)
        given_shape = tuple(view.shape or ())
        shape, dtype = tuple(self.input["shape"][1:]), self.input["dtype"]
        if view.format != FORMATS[dtype] and not (dtype == "int64" and view.format == "l" and view.itemsize == 8):
            raise BundleError(f"the rows are numbers of the format {view.format!r}, and the model takes {dtype}")
        if given_shape[1:] != shape:
            expected = ", ".join(map(str, ("rows", *shape)))
            raise BundleError(f"the rows have the shape {given_shape}, and the model takes ({expected})")
        count, answer = given_shape[0], self.output["shape"][1:]
        if not count:
            raise BundleError("there are no rows")
        source, answers = view.tobytes(), (ctypes.c_float * (count * math.prod(answer)))()
        if self._library.bundle_run(self._handle, source, count, answers):
            raise BundleError(self._library.bundle_error().decode())
        return memoryview(answers).cast("B").cast("f", [count, *answer])

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.bundle_close(self._handle)


def check_digests(folder: Path) -> None:
    """Raise BundleError where a file of the bundle has other bytes than it was made with, or is missing."""
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line[:64], line[66:]
        try:
            actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise BundleError(f"{name} is missing or cannot be read: {error.strerror}") from error
        if actual != digest:
            raise BundleError(f"{name} has other bytes than the bundle was made with: unpack the bundle again")


if __name__ == "__main__":
    print(json.dumps(Model(sys.argv[1] if len(sys.argv) > 1 else ".").manifest, indent=1))  # noqa: T201
