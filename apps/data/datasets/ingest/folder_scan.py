"""List the files of a folder in a portable order, with the state that shows whether they changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from apps.core.errors import Invalid
from apps.data.datasets.versions.manifest import FILES_LIMIT, check_path
from apps.platform.artifacts.intake import About, build_unreadable_error, refuse_special
from deepseek.messages import N_


class FolderFile(NamedTuple):
    """`path`: inside the version, with forward slashes; `file`: on this machine; `real`: without symlinks."""

    path: str
    file: str
    about: About
    real: str


def list_folder_files(root: Path, old_paths: Container[object] = ()) -> list[FolderFile]:
    """List the file `root`, or every file below the folder `root`, sorted by path. Reads no contents.

    Raises Invalid, naming the path, for what cannot be read, is no regular file, or has a name that means something
    else on another machine, unless it is among `old_paths`; and for no file, or too many.
    """
    try:
        status = root.stat(follow_symlinks=False)
    except OSError as error:
        raise build_unreadable_error(root, error) from error
    if not root.is_dir() or root.is_symlink():
        refuse_special(root, status.st_mode)
        check_path(root.name, str(root), old_paths)
        return [FolderFile(root.name, str(root), About.of(status), str(root.parent.resolve() / root.name))]
    files = []
    for file in walk_folder(str(root), "", str(root.resolve()).rstrip("/"), old_paths):
        files.append(file)
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


def walk_folder(folder: str, prefix: str, real: str, old_paths: Container[object]) -> Iterator[FolderFile]:
    """Every file below `folder`; `real` is the path of the folder that it is all below, without links."""
    try:
        with os.scandir(folder) as entries:
            children = list(entries)
    except OSError as error:
        raise build_unreadable_error(Path(folder), error) from error
    for entry in children:
        file, path = entry.path, prefix + entry.name
        check_path(path, file, old_paths)
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from walk_folder(file, f"{path}/", real, old_paths)
                continue
            about = entry.stat(follow_symlinks=False)
        except OSError as error:
            raise build_unreadable_error(Path(file), error) from error
        if not stat.S_ISREG(about.st_mode):
            refuse_special(Path(file), about.st_mode)
        yield FolderFile(path, file, About.of(about), f"{real}/{path}")
