"""Which packages run which form of a model, and whether they are installed. Light to import."""

import importlib.util

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import ModelManifest

TORCH_FORMATS = ("safetensors", "torchscript", "pt2")
"""Formats that PyTorch runs; the others need no PyTorch."""


def is_installed(name: str) -> bool:
    """Whether the top-level package `name` can be imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # of an import hook that hides it
        return False


def require_runtime(manifest: ModelManifest) -> None:
    """Raise EngineError ``runtime_missing`` where PyTorch runs the model's format and is not installed."""
    if manifest.format not in TORCH_FORMATS or is_installed("torch"):
        return
    raise EngineError(
        "runtime_missing",
        "A model of the format {format} is run by PyTorch, which is not installed here.",
        format=manifest.format,
        field="inputs/model",
        value="torch is not installed",
        limit="onnx or tvm, or PyTorch 2.9 or later",
        hint=N_(
            "Take the model's form in ONNX (`deepseek export`) or a compiled one (`deepseek compile`), "
            "or install PyTorch: python -m pip install 'torch>=2.9,<2.14'"
        ),
    )


def list_runtime_modules(manifest: ModelManifest) -> tuple[str, ...]:
    """What loads the runtime of the model's format when it is imported."""
    if manifest.format in TORCH_FORMATS:
        return ("deepseek.models.torch_predictor",)
    return ("onnxruntime",) if manifest.format == "onnx" else ()
