"""Files of torch.export (``.pt2``): read as bytes before torch opens them, and opened only if they only compute.

torch.export.load unpickles what such a file marks as pickled, and hands the text of symbolic sizes to sympy, which
evaluates it. What this project writes has raw tensors, operators of ATen and plain names of sizes: anything else is
refused.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.unsafe_file import build_unsafe_error

MAX_JSON_BYTES = 64 << 20
_ENTRIES = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/model_(weights|constants)_config\.json|"
    r"data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|"
    r"\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.[A-Za-z0-9_]+\.[A-Za-z0-9_]+|_operator\.(add|sub|mul|floordiv|getitem|eq|ge|le|lt|gt)"
)
_SIZE = re.compile(r"[A-Za-z0-9=',() -]{1,500}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_SYMBOL = re.compile(r"[a-z][0-9]{1,9}")
_SIZE_WORDS = {"Symbol", "Integer", "Mul", "Add", "Max", "Min", "positive", "integer", "True"}
"""Words of a size as sympy writes it: Mul(Integer(2), Symbol('s97', positive=True, integer=True))."""


def open_program(path: Path) -> torch.nn.Module:
    """The network in the file at `path`. Raises EngineError ``model_unsafe`` or ``model_unreadable``."""
    check_pt2_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: torch.nn.Module = torch.export.load(str(path)).module()
    except Exception as error:  # of torch, which has none of its own
        raise build_pt2_error(path, (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]) from error
    return module


def check_pt2_file(path: Path) -> None:
    """Raise EngineError ``model_unsafe`` for what a model file does not need, ``model_unreadable`` for no .pt2."""
    try:
        with zipfile.ZipFile(path) as archive:
            refused = _find_refused(archive)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, RecursionError) as error:
        raise build_pt2_error(path, f"{error}"[:300]) from error
    if refused is not None:
        raise build_unsafe_error(
            path,
            refused,
            limit="a file of torch.export that only computes",
            hint=N_("Take the two files from one folder, or make the model again."),
        )


def build_pt2_error(path: Path, why: str) -> EngineError:
    """The error for a file that torch.export cannot open."""
    return EngineError(
        "model_unreadable",
        "{path_name} {what}, so it was not opened.",
        path_name=path.name,
        what=f"is no file of torch.export ({why})",
        field="inputs/model",
        value=path.name,
        limit="a file that `deepseek export` wrote",
        hint=N_("The file may be cut short; copy it again and compare its SHA-256 with the manifest."),
    )


def _find_refused(archive: zipfile.ZipFile) -> str | None:
    """What the file holds that no model of this project does; None if there is nothing."""
    entries = {info.filename: info for info in archive.infolist()}
    prefixes = {name.partition("/")[0] for name in entries}
    if len(prefixes) != 1 or len(entries) != len(archive.infolist()):
        return "has entries of several archives"
    prefix = prefixes.pop()
    for name in entries:
        if not _ENTRIES.fullmatch(name.removeprefix(f"{prefix}/")):
            return f"holds {name[:100]}"
    for config in ("weights", "constants"):
        for entry in _read_json(archive, f"{prefix}/data/{config}/model_{config}_config.json")["config"].values():
            if entry.get("use_pickle") is not False or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                return "holds a pickle"
    try:
        sample = archive.read(f"{prefix}/data/sample_inputs/model.pt")
        torch.load(io.BytesIO(sample), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  whatever it is, it is no tensor
        return "holds a pickle of more than tensors"
    for key, value in _iterate_pairs(_read_json(archive, f"{prefix}/models/model.json")):
        if key == "target" and not (isinstance(value, str) and _OPERATOR.fullmatch(value)):
            return f"calls {str(value)[:100]}"
        if key == "expr_str" and not _is_plain_size(value):
            return "computes a size by an expression"
    return None


def _is_plain_size(value: Any) -> bool:
    """Whether the text is a number, a symbol, or sums and products of these."""
    if not (isinstance(value, str) and _SIZE.fullmatch(value)):
        return False
    return all(word in _SIZE_WORDS or _SYMBOL.fullmatch(word) for word in _WORD.findall(value))


def _read_json(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > MAX_JSON_BYTES:
        raise ValueError(f"{name} is too large.")
    return json.loads(archive.read(name))


def _iterate_pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, nested in value.items():
            yield key, nested
            yield from _iterate_pairs(nested)
    elif isinstance(value, list):
        for nested in value:
            yield from _iterate_pairs(nested)
