"""What a model file keeps beside its numbers, such as a vocabulary: read without PyTorch, and never out of a pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors

from deepseek.job import EngineError
from deepseek.messages import N_

_PICKLE, _ZIP = b"\x80", b"PK\x03\x04"  # how torch.save began before 1.6, and begins since
ASSETS = "assets"
"""The one key of a model file's metadata: a JSON object of what else the model needs, as `encode_assets` writes it."""


def encode_assets(assets: Mapping[str, Any]) -> str:
    """The value of the metadata key ``assets``: one key, so that equal assets give equal bytes of the file."""
    return json.dumps(assets, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_assets(path: Path, field: str = "inputs/model") -> dict[str, Any]:
    """The assets in the header of the safetensors file at `path`; none where it was saved without.

    Raises EngineError ``model_unsafe`` or ``model_unreadable``.
    """
    refuse_pickle(path, field)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(ASSETS, "{}")
        return decode_assets(text)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise build_safetensors_error(path, str(error), field) from error


def decode_assets(text: str) -> dict[str, Any]:
    """What `encode_assets` wrote. Raises ValueError."""
    try:
        assets = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"its {ASSETS} are nested too deep") from error
    if not isinstance(assets, dict):
        raise ValueError(f"its {ASSETS} are no JSON object")
    return assets


def refuse_pickle(path: Path, field: str = "inputs/model") -> None:
    """Raise EngineError ``model_unsafe`` for a pickle, ``model_unreadable`` for what cannot be read at all."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise build_safetensors_error(path, error.strerror or str(error), field) from error
    if head.startswith(_PICKLE) or head == _ZIP:
        raise EngineError(
            "model_unsafe",
            "{path_name} is a pickle, as torch.save writes: opening it could run any code, so it was not opened.",
            path_name=path.name,
            field=field,
            value=path.name,
            limit="a safetensors file",
            hint=N_("Save the weights with safetensors.torch.save_file, or train the model here."),
        )


def build_safetensors_error(path: Path, why: str, field: str = "inputs/model") -> EngineError:
    return EngineError(
        "model_unreadable",
        "{path_name} is no safetensors file: {why}.",
        path_name=path.name,
        why=why,
        field=field,
        value=path.name,
        limit="a safetensors file",
        hint=N_("The file may be cut short; copy it again and compare its SHA-256 with the manifest."),
    )
