"""The files of a folder, in an order that is the same on every machine, with what tells whether they changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from apps.core.errors import Invalid
from apps.data.datasets.versions.manifest import FILES_LIMIT, check_path
from apps.platform.artifacts.intake import About, refuse_special, unreadable
from deepseek.messages import N_


class Listed(NamedTuple):
    """`path`: inside the version, with forward slashes; `file`: where it lies; `real`: the same without links."""

    path: str
    file: str
    about: About
    real: str


def listed(root: Path, old_paths: Container[object] = ()) -> list[Listed]:
    """The file `root`, or every file below the folder `root` by its path. Reads no contents.

    Raises Invalid, naming the path, for what cannot be read, is no regular file, or has a name that means something
    else on another machine, unless it is among `old_paths`; and for no file, or too many.
    """
    try:
        found = root.stat(follow_symlinks=False)
    except OSError as error:
        raise unreadable(root, error) from error
    if not root.is_dir() or root.is_symlink():
        refuse_special(root, found.st_mode)
        check_path(root.name, str(root), old_paths)
        return [Listed(root.name, str(root), About.of(found), str(root.parent.resolve() / root.name))]
    files = []
    for one in walked(str(root), "", str(root.resolve()).rstrip("/"), old_paths):
        files.append(one)
        if len(files) > FILES_LIMIT:
            raise Invalid(
                "{root} holds more than {files_limit} files.",
                root=root,
                files_limit=FILES_LIMIT,
                code="too_many_files",
                field="path",
                limit=f"{FILES_LIMIT} files in a version",
                hint=N_("Pack them, for instance into Parquet or tar files, or make several datasets."),
            )
    if not files:
        raise Invalid(
            "{root} holds no file.",
            root=root,
            code="no_files",
            field="path",
            limit="1",
            hint=N_("Name another folder."),
        )
    return sorted(files)


def walked(folder: str, before: str, real: str, old_paths: Container[object]) -> Iterator[Listed]:
    """Every file below `folder`; `real` is the path of the folder that it is all below, without links."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise unreadable(Path(folder), error) from error
    for entry in found:
        file, path = entry.path, before + entry.name
        check_path(path, file, old_paths)
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from walked(file, f"{path}/", real, old_paths)
                continue
            about = entry.stat(follow_symlinks=False)
        except OSError as error:
            raise unreadable(Path(file), error) from error
        if not stat.S_ISREG(about.st_mode):
            refuse_special(Path(file), about.st_mode)
        yield Listed(path, file, About.of(about), f"{real}/{path}")
