"""From one model file to the folder that transformers loads."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from deepseek.language.base import SINGLE
from deepseek.language.errors import build_base_error
from deepseek.language.outputs import ADAPTER_CONFIG, FILES
from deepseek.messages import N_, Message
from deepseek.models.assets import read_assets


@contextmanager
def open_base(path: Path) -> Iterator[Path]:
    """The folder at `path`; of a whole model's file, a folder for as long as it is used, with a link to the file."""
    if not path.is_file():
        yield path
        return
    files = read_files(path)
    if ADAPTER_CONFIG in files:
        raise build_base_error(
            path,
            Message("it holds an adapter, and not a whole model"),
            hint=N_("Merge the adapter with its base first: deepseek merge."),
            limit=N_("a whole model"),
        )
    with TemporaryDirectory(prefix="base-") as folder:
        write_folder(Path(folder), files, path)
        yield Path(folder)


def read_files(path: Path) -> dict[str, str]:
    """Configuration, tokenizer and template in a model file's header. Raises EngineError ``base_unreadable``."""
    files: Any = read_assets(path).get(FILES)
    is_mapping = isinstance(files, dict) and all(
        isinstance(text, str) and PurePosixPath(name).name == name for name, text in files.items()
    )
    if not is_mapping:
        raise build_base_error(
            path,
            Message("its header has no configuration and no tokenizer"),
            hint=N_("Give the model file that `deepseek train-language` or `deepseek merge` wrote, or a folder."),
            limit=FILES,
        )
    return dict(files)


def write_folder(folder: Path, files: Mapping[str, str], model: Path) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    (folder / SINGLE).symlink_to(model.absolute())


def compute_folder_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 over the names and digests of a folder's files."""
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()
