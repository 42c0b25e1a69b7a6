"""Which code made something: one digest over the engine's own source. Light to import."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def compute_code_digest() -> str:
    """SHA-256, in hex, over the path and the bytes of every source file of the engine, in the order of the paths.

    Equal for equal source wherever it is installed; a change of one byte, or a file renamed, gives another.
    """
    return _hash_sources(Path(__file__).parent)


def _hash_sources(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        data = path.read_bytes()
        # The length parts one file from the next: no two sets of files give the same stream.
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
