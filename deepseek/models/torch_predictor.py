"""The forms of a model that PyTorch runs: the network itself, TorchScript, and programs of torch.export."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from deepseek.models.manifest import MlpArchitecture, ModelManifest, check_file
from deepseek.models.network import load_network
from deepseek.models.predictor_base import Call, Floats, Predictor, count_chunk_rows, verify_predictor
from deepseek.models.pt2_file import open_program
from deepseek.models.torchscript import read_archive

FROZEN_TOLERANCE = 1e-6


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
            size = count_chunk_rows(self.inputs)
            if len(rows) <= size:
                return self.module(rows).numpy()
            return torch.cat([self.module(chunk) for chunk in torch.split(rows, size)]).numpy()


def open_torch_model(manifest: ModelManifest, path: Path) -> TorchPredictor:
    """The model in the file at `path`. Raises as `open_model` does."""
    if manifest.format == "safetensors":
        return TorchPredictor(manifest, load_network(manifest, path))
    check_file(manifest, path)
    module = read_archive(path) if manifest.format == "torchscript" else open_program(path)
    predictor = TorchPredictor(manifest, module)
    verify_predictor(predictor, path)
    return predictor


def freeze_predictor(predictor: TorchPredictor, rows: Floats) -> TorchPredictor:
    """The same network as frozen TorchScript, where it gives the same for `rows`, three of them: half the time of a
    call for a small one."""
    module = predictor.module
    if not isinstance(predictor.manifest.architecture, MlpArchitecture) or not isinstance(module, torch.nn.Module):
        return predictor
    examples = torch.from_numpy(rows)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch would rather have torch.compile, which takes seconds
        try:
            traced = torch.jit.trace(module, examples, check_trace=False)  # type: ignore[no-untyped-call]
            frozen = torch.jit.freeze(traced.eval())
        except RuntimeError:
            return predictor
        for count in (1, 2, 3):
            expected = module(examples[:count])
            for _ in range(2):  # it specialises in its first calls
                actual = frozen(examples[:count])
                if not torch.allclose(actual, expected, rtol=FROZEN_TOLERANCE, atol=FROZEN_TOLERANCE):
                    return predictor
    return TorchPredictor(predictor.manifest, frozen)
