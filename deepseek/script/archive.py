"""Pack a folder into a tar file and unpack it again; unpack the zip archive that holds the code of a script."""

import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from deepseek.job import EngineError
from deepseek.messages import N_

MAX_ENTRIES = 50_000
MAX_BYTES = 2 << 30
CHUNK = 1 << 20


def unpack_code(archive: Path, folder: Path) -> int:
    """Unpack the zip file `archive` into the new folder `folder`; returns the number of files.

    Raises EngineError ``bad_code`` for what is no zip file, is larger than MAX_BYTES or has more than MAX_ENTRIES
    entries, or holds a link, an encrypted file, a path that leads out of the folder, or one path twice.
    """
    folder.mkdir(mode=0o755)
    try:
        with zipfile.ZipFile(archive) as zipped:
            entries = zipped.infolist()
            if len(entries) > MAX_ENTRIES:
                raise build_code_error(N_("The archive of the code has too many entries."), len(entries), MAX_ENTRIES)
            room = MAX_BYTES
            for entry in entries:
                room = unpack_entry(zipped, entry, folder, room)
            return sum(not entry.is_dir() for entry in entries)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise build_code_error(
            N_("The archive of the code is no zip file that can be read."), str(error)[:80]
        ) from error


def unpack_entry(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, room: int) -> int:
    """Unpack one entry; returns how many bytes may still come."""
    path, mode = PurePosixPath(entry.filename), entry.external_attr >> 16
    name = entry.filename[:80]
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or not path.parts:
        raise build_code_error(N_("The archive of the code holds a path that leads out of its folder."), name)
    if entry.flag_bits & 1:
        raise build_code_error(N_("The archive of the code is encrypted."), name)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise build_code_error(N_("The archive of the code holds a link or a special file."), name)
    target = folder / path
    try:
        if entry.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            return room
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipped.open(entry) as source, target.open("xb") as file:
            while chunk := source.read(min(CHUNK, room + 1)):
                room -= len(chunk)
                if room < 0:
                    raise build_code_error(N_("The code is too large when it is unpacked."), name, MAX_BYTES)
                file.write(chunk)
    except (FileExistsError, NotADirectoryError):
        raise build_code_error(N_("The archive of the code holds a path twice."), name) from None
    target.chmod(0o755 if mode & 0o111 else 0o644)
    return room


def build_code_error(message: str, value: object, limit: int | None = None) -> EngineError:
    return EngineError(
        "bad_code",
        message,
        field="inputs/code",
        value=str(value),
        limit=limit,
        hint=N_("Send a zip file with the folder of the script, without data; deepseek run makes one."),
    )


def pack_folder(folder: Path, archive: Path) -> None:
    """Write the regular files of `folder` as a tar file, by way of a rename: who reads `archive` finds it whole."""
    part = archive.with_name(f"{archive.name}.part")
    with tarfile.open(part, "w") as tar:
        for parent, folders, names in os.walk(folder):
            for name in sorted(folders) + sorted(names):
                path = Path(parent, name)
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    continue
                tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
    os.replace(part, archive)


def unpack_folder(archive: Path, folder: Path) -> None:
    """Put the files of a tar file of `pack_folder` into `folder`, in the place of what is there.

    Raises EngineError ``bad_checkpoint`` for a file that holds anything else: a job had it in its hands.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise EngineError(
            "bad_checkpoint", N_("The checkpoint cannot be unpacked."), field="inputs/checkpoint", value=str(error)[:80]
        ) from error


def open_zstd(file: BinaryIO) -> Any:
    """What is in a zstd stream, as a file to read."""
    import pyarrow  # heavy, and rarely needed here

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")


def measure_folder(folder: Path) -> tuple[int, int, int]:
    """(files, bytes, newest change in nanoseconds) of the regular files below `folder`."""
    files = total = newest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(Path(parent, name))
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                files, total, newest = files + 1, total + status.st_size, max(newest, status.st_mtime_ns)
    return files, total, newest
