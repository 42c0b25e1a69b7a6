"""The code of a study: the source of this package, which every site compares with what it approved. Light to import."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def compute_study_code_digest() -> str:
    """SHA-256, in hex, over the paths and bytes of `read_study_code`."""
    digest = hashlib.sha256()
    for name, text in read_study_code().items():
        data = text.encode()
        digest.update(f"{name}\n{len(data)}\n".encode())  # the length parts one file from the next
        digest.update(data)
    return digest.hexdigest()


def read_study_code() -> dict[str, str]:
    """The source that a study runs at a site, by file name in order: what a person of the site reads and approves."""
    return {path.name: path.read_bytes().decode() for path in sorted(FOLDER.glob("*.py"))}
