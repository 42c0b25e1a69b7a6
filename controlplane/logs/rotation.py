"""Log files that do not grow for ever. Children write to their file themselves, so that nothing they say is lost when
the launcher is killed; the launcher puts a file aside by copying it and cutting it short, as logrotate's
`copytruncate` does. The file is opened for appending: the next line goes to its beginning."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path


def rotate(path: Path, *, larger_than: int, keep: int, keep_days: float = 0) -> bool:
    """Rotate `path` to `path.1` if it is larger than the limit in bytes; return whether it was rotated.

    `keep` files are left in all, the oldest goes; of the last `keep_days` none goes. A line written between the copy
    and the cut is lost: the last look for more comes right before the cut. Raises OSError, for instance on a full disk,
    and then has cut nothing.
    """
    try:
        if path.stat().st_size <= larger_than:
            return False
    except FileNotFoundError:
        return False
    keep = max(keep, count_recent_files(path, keep_days) + 2) if keep_days else keep
    if keep == 1:
        os.truncate(path, 0)
        return True
    copy = path.with_name(f"{path.name}.copy")
    try:
        with path.open("rb") as source, copy.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
            shift(path, keep)
            copy.rename(build_rotated_path(path, 1))
            shutil.copyfileobj(source, out, 1 << 20)
            out.flush()
            os.truncate(path, 0)
    except OSError:
        copy.unlink(missing_ok=True)
        raise
    return True


def count_recent_files(path: Path, days: float) -> int:
    """How many of the files put aside were last written to within so many days, the newest first."""
    oldest, count = time.time() - days * 86_400, 0
    while (older := build_rotated_path(path, count + 1)).exists() and older.stat().st_mtime >= oldest:
        count += 1
    return count


def shift(path: Path, keep: int) -> None:
    """path.1 becomes path.2 and so on; what would be one too many is overwritten or removed."""
    for number in range(keep - 1, 0, -1):
        older = build_rotated_path(path, number)
        if older.exists():
            older.rename(build_rotated_path(path, number + 1)) if number < keep - 1 else older.unlink()
    while (surplus := build_rotated_path(path, keep)).exists():
        surplus.unlink()
        keep += 1


def build_rotated_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
