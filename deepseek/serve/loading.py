"""Opens the folder of a model, whatever its family and form, and makes it ready to answer.

PyTorch is loaded for the forms that it runs, and for no other: a device serves ONNX files and compiled libraries
without it.
"""

import hashlib
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.entities.predictor import EntitiesPredictor, open_entities
from deepseek.job import EngineError
from deepseek.models.folder import HELDOUT_NAME, find_model_files
from deepseek.models.heldout import read_heldout
from deepseek.models.manifest import LanguageArchitecture, ModelManifest
from deepseek.models.packages import TORCH_FORMATS, require_runtime
from deepseek.models.predictor import open_model
from deepseek.models.predictor_base import Predictor
from deepseek.serve.handlers import Handler, build_handler
from deepseek.serve.loaded_model import LoadedModel
from deepseek.serve.measurement import Measured, measure_batches, measure_calls
from deepseek.serve.options import ModelSource, ServeOptions

SAMPLE_ROWS = 64
"""Held-out rows that a model is measured and checked on."""


def load_model(source: ModelSource, options: ServeOptions, executor: Executor) -> LoadedModel:
    """The model in a folder. Raises EngineError for whatever is wrong with it, such as other bytes than its manifest
    names."""
    files = find_model_files(source.folder)
    manifest = ModelManifest.read(files["manifest"])
    if isinstance(manifest.architecture, LanguageArchitecture):
        _prepare_torch(manifest, options.threads)
        from deepseek.language.serving import load_language_predictor
        from deepseek.serve.language import LanguageHandler

        handler: Handler = LanguageHandler(load_language_predictor(manifest, files["model"]))
    else:
        handler = build_handler(open_predictor(source.folder, options.threads), options.max_rows)
    return prepare_model(source, handler, options, executor)


def open_predictor(folder: Path, threads: int | None = None) -> Predictor | EntitiesPredictor:
    """The model in `folder`, of whatever family that takes rows or texts. `threads`: processor threads of one
    prediction; None: as many as its runtime takes."""
    files = find_model_files(folder)
    manifest = ModelManifest.read(files["manifest"])
    if manifest.format in TORCH_FORMATS:
        _prepare_torch(manifest, threads)
    if manifest.task == "entities":
        return open_entities(manifest, files["model"], threads)
    predictor = open_model(manifest, files["model"], threads)
    if manifest.format in ("safetensors", "pt2"):
        from deepseek.models.torch_predictor import TorchPredictor, freeze_predictor

        if isinstance(predictor, TorchPredictor):
            return freeze_predictor(predictor, draw_rows(predictor.shape, 3))
    return predictor


def _prepare_torch(manifest: ModelManifest, threads: int | None) -> None:
    """Let PyTorch compute with so many threads. Raises EngineError ``runtime_missing`` where it is not installed."""
    require_runtime(manifest)
    if threads:
        import torch

        torch.set_num_threads(threads)


def prepare_model(source: ModelSource, handler: Handler, options: ServeOptions, executor: Executor) -> LoadedModel:
    """Measure the model, which also warms it up."""
    measured, at_once = Measured(one=1.0, saved=0.0, batch_dependent=True), None
    if handler.takes_arrays:
        rows = read_sample(handler.manifest, source.folder)
        measured = measure_batches(handler.predict, rows)
        if is_quantized_by_batch(handler.manifest):
            measured = Measured(measured.one, measured.saved, True)
    elif isinstance(handler.manifest.architecture, LanguageArchitecture):
        at_once = 1
    else:
        measured = Measured(max(1.0, measure_calls(handler.predict, ["a"])), 0.0, True)
    return LoadedModel(
        source.name, source.version, handler, measured, options, executor, folder=source.folder, at_once=at_once
    )


def is_quantized_by_batch(manifest: ModelManifest) -> bool:
    """Whether the model takes the scale of its 8-bit numbers from each batch: `quantize_dynamic` does."""
    return manifest.variant == "int8" and manifest.format == "torchscript"


def read_sample(manifest: ModelManifest, folder: Path) -> Any:
    """Held-out rows of the folder as float32, else drawn ones: the same for each call."""
    path = folder / HELDOUT_NAME
    if path.is_file():
        try:
            return read_heldout(path, manifest).features[:SAMPLE_ROWS].astype(np.float32)
        except EngineError:
            pass  # of another model: it is no part of the form
    return draw_rows(manifest.architecture.input_shape, 16)


def draw_rows(shape: tuple[int, ...], count: int) -> Any:
    """Rows of numbers around 0, always the same."""
    seed = int.from_bytes(hashlib.sha256(repr(shape).encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)
