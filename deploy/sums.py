"""SHA-256 of the files of a folder that is carried."""

from __future__ import annotations

import hashlib
from pathlib import Path


def compute_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """SHA256SUMS of every file below the folder, the names as `sha256sum --check` in that folder wants them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / "SHA256SUMS"]
    lines = (f"{compute_sha256(path)}  {path.relative_to(folder)}\n" for path in files)
    (folder / "SHA256SUMS").write_text("".join(lines))
