"""Changes to files that survive a power cut: written beside, synced, renamed, and the folder synced.

A reader finds the old state or the new one, never a part of either.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentError

STAGED_SUFFIX = ".new"


def ignore_step(name: str) -> None:
    """The observer of a disk that nobody observes."""


class Disk:
    """Durable changes. `observe` is called with a name within and after each of them: tests end the process there."""

    def __init__(self, observe: Callable[[str], None] = ignore_step) -> None:
        self.observe = observe

    def write(self, path: Path, data: bytes, *, mode: int = 0o600) -> None:
        """Give the file `path` these bytes."""
        staged = path.with_name(f".{path.name}{STAGED_SUFFIX}")
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.observe(f"staged {path.name}")
        os.replace(staged, path)
        sync_folder(path.parent)
        self.observe(f"after write {path.name}")

    def write_json(self, path: Path, document: Mapping[str, Any]) -> None:
        self.write(path, json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")

    def link(self, path: Path, target: str) -> None:
        """Let the symbolic link `path` lead to `target`, which is relative to its folder."""
        staged = path.with_name(f".{path.name}{STAGED_SUFFIX}")
        staged.unlink(missing_ok=True)
        os.symlink(target, staged)
        self.observe(f"staged {path.name}")
        os.replace(staged, path)
        sync_folder(path.parent)
        self.observe(f"after link {path.name}")

    def move(self, source: Path, target: Path) -> None:
        """Rename a file or a folder whose content is synced already."""
        os.rename(source, target)
        sync_folder(target.parent)
        if source.parent != target.parent:
            sync_folder(source.parent)
        self.observe(f"after move {target.name}")

    def remove(self, path: Path) -> None:
        """Remove a file or a link that may be gone already."""
        with suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)
        self.observe(f"after remove {path.name}")

    def remove_tree(self, path: Path) -> None:
        """Remove a folder that nothing leads to any more."""
        shutil.rmtree(path, ignore_errors=True)
        self.observe(f"after remove {path.name}")


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make the files below `folder`, and their names, durable."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            descriptor = os.open(Path(parent, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of the home folder, None where there is none. Raises AgentError ``home_damaged``."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _build_damage_error(path, getattr(error, "strerror", None) or "it is not JSON") from None
    if not isinstance(document, dict):
        raise _build_damage_error(path, "it is no JSON object")
    return document


def _build_damage_error(path: Path, reason: str) -> AgentError:
    return AgentError(
        "home_damaged",
        f"{path.name} cannot be used: {reason}.",
        field="--home",
        value=str(path),
        limit="a file that this agent wrote",
        hint="Put the folder back from a backup, or enrol the device anew with another home folder.",
    )
