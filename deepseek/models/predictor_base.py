"""What a model is to whoever asks it, in any of its forms: rows in, outputs out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import ModelManifest

Floats = npt.NDArray[np.float32]
Call = Callable[[], object]

CHUNK_ROWS, CHUNK_VALUES = 8192, 1 << 24
"""Rows, and numbers, of one call: memory does not grow with the rows."""


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


def count_chunk_rows(inputs: int) -> int:
    """Rows of `inputs` numbers that one call takes."""
    return max(1, min(CHUNK_ROWS, CHUNK_VALUES // inputs))


def verify_predictor(predictor: Predictor, path: Path) -> Predictor:
    """`predictor`, once one row has gone through it and come out with the width that the manifest names."""
    try:
        shape = predictor.predict(np.zeros((1, *predictor.shape), np.float32)).shape
        observed = f"outputs of shape {shape}"
    except (EngineError, MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  those of ONNX Runtime share no other base
        shape, observed = (), (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
    if shape == (1, predictor.outputs):
        return predictor
    raise build_mismatch_error(predictor, path, observed)


def build_mismatch_error(predictor: Predictor, path: Path, observed: str) -> EngineError:
    """The error for a file that does not do what its manifest says."""
    return EngineError(
        "model_mismatch",
        "{path_name} does not take or give what its manifest says.",
        path_name=path.name,
        field="inputs/model",
        value=observed,
        limit=f"features (rows, {predictor.inputs}), outputs (rows, {predictor.outputs})",
        hint=N_("Take the model and the manifest from one folder."),
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
