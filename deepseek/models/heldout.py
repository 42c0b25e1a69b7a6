"""``heldout.safetensors``: rows that no training saw, so that every form of a model is measured on the same ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.folder import HELDOUT_NAME
from deepseek.models.manifest import MEDIA_TYPES, ModelManifest

__all__ = ["HELDOUT_NAME", "HELDOUT_TYPE", "Heldout", "read_heldout", "write_heldout"]

HELDOUT_TYPE = MEDIA_TYPES["safetensors"]


@dataclass(frozen=True)
class Heldout:
    """`features` (n, F) in raw units; `target` (n,), float32 values in their unit or int64 places in the classes.

    Of an image model the features are (n, 3, height, width) of uint8."""

    features: npt.NDArray[Any]
    target: npt.NDArray[Any]


def write_heldout(rows: Heldout, path: Path) -> None:
    """Write the rows; equal rows give equal bytes."""
    tensors = {"features": np.ascontiguousarray(rows.features), "target": np.ascontiguousarray(rows.target)}
    path.write_bytes(safetensors.numpy.save(tensors))  # save_file would make the file its owner's alone


def read_heldout(path: Path, manifest: ModelManifest, slot: str = "heldout") -> Heldout:
    """The rows at `path`, checked to fit the model: at least one, all finite, as many features, classes that exist.
    `slot` is for errors.

    Raises EngineError ``heldout_unreadable`` or ``heldout_mismatch``.
    """
    try:
        tensors = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, ValueError, OSError, KeyError) as error:
        raise EngineError(
            "heldout_unreadable",
            "{path_name} is no safetensors file: {error}.",
            path_name=path.name,
            error=error,
            field=f"inputs/{slot}",
            value=path.name,
            limit="a safetensors file with the tensors features and target",
            hint=N_("Give the heldout.safetensors that `deepseek train` wrote beside the model."),
        ) from error
    rows = Heldout(tensors.get("features", np.empty(0)), tensors.get("target", np.empty(0)))
    shape = manifest.architecture.input_shape
    dtype = np.dtype(np.uint8 if manifest.architecture.type == "image" else np.float32)
    target_type = np.dtype("int64" if manifest.task == "classification" else "float32")
    if rows.features.shape[1:] != shape or not len(rows.features) or rows.features.dtype != dtype:
        raise _build_mismatch_error(
            slot, f"features: {rows.features.dtype} {rows.features.shape}", f"features: {dtype} {describe_shape(shape)}"
        )
    if rows.target.shape != rows.features.shape[:1] or rows.target.dtype != target_type:
        raise _build_mismatch_error(
            slot, f"target: {rows.target.dtype} {rows.target.shape}", f"target: {target_type} ({len(rows.features)},)"
        )
    if not (np.isfinite(rows.features).all() and np.isfinite(rows.target).all()):
        raise _build_mismatch_error(slot, "a value that is missing or infinite", "finite values")
    if manifest.task == "classification":
        classes = len(manifest.classes)
        wrong = rows.target[(rows.target < 0) | (rows.target >= classes)]
        if wrong.size:
            raise _build_mismatch_error(slot, f"class {wrong[0]}", f"0 to {classes - 1}")
    return rows


def describe_shape(shape: tuple[int, ...]) -> str:
    """The shape of a batch of examples, as errors say it."""
    return f"(rows, {', '.join(map(str, shape))})"


def _build_mismatch_error(slot: str, value: str, limit: str) -> EngineError:
    return EngineError(
        "heldout_mismatch",
        "The held-out rows do not fit the model.",
        field=f"inputs/{slot}",
        value=value,
        limit=limit,
        hint=N_("Give the heldout.safetensors that was written beside the trained model."),
    )
