"""Files of a plane into a folder: verified by their SHA-256, renamed into place whole, never outside the folder."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from deepseek.client.errors import ClientError, PlaneUnreachable
from deepseek.client.transport import PlaneTransport

DIGEST = re.compile(r"[0-9a-f]{64}")
CHUNK_BYTES = 1 << 20
ATTEMPTS = 5


@dataclass(frozen=True)
class RemoteFile:
    """`path`: where it goes below the folder, as the plane names it."""

    path: str
    digest: str
    size: int = 0


def fetch_files(transport: PlaneTransport, base: str, files: Iterable[RemoteFile], out: Path) -> list[Path]:
    """Download files into `out`, and return where they lie. `base` is the address of the project's artifacts.

    A file that is there already with the same bytes is left as it is. One with other bytes is refused before anything
    is downloaded, as is a name that leads out of the folder.
    """
    chosen = [(file, resolve_target(out, file.path)) for file in files]
    missing = [(file, target) for file, target in chosen if not _is_there(target, file.digest)]
    for file, target in missing:
        download_file(transport, f"{base}/{file.digest}", file.digest, target)
    return [target for _, target in chosen]


def resolve_target(out: Path, path: str) -> Path:
    """Where a file of the plane goes. Raises ClientError ``unsafe_path`` for a name that leads out of `out`."""
    parts = path.split("/")
    is_unsafe = (
        any(part in ("", ".", "..") or len(os.fsencode(part)) > 255 for part in parts)
        or any(ord(letter) < 32 or letter == "\\" for letter in path)
        or re.match(r"[A-Za-z]:", path) is not None
    )
    target = out.joinpath(*parts)
    if is_unsafe or not target.parent.resolve().is_relative_to(out.resolve()) or target.is_symlink():
        raise ClientError(
            "unsafe_path",
            f"The plane names a file {path!r}, which would lie outside {out}; nothing was written.",
            field="-o",
            value=path[:200],
            limit="a path below the output folder",
            hint="Give an empty folder. If that does not help, the plane's answer is wrong: tell its operator.",
        )
    return target


def download_file(transport: PlaneTransport, path: str, digest: str, target: Path) -> None:
    """One file. After a break the download goes on where it stopped; the bytes are checked as a whole."""
    if not DIGEST.fullmatch(digest):
        raise ClientError("bad_digest", f"{digest[:80]!r} is not a SHA-256.", field=target.name, limit="64 hex digits")
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.part")
    try:
        with open(staged, "xb") as file:
            hashed = hashlib.sha256()
            for attempt in range(ATTEMPTS):
                try:
                    _receive(transport, path, digest, file, hashed)
                    break
                except PlaneUnreachable:
                    if attempt == ATTEMPTS - 1:
                        raise
                    time.sleep(0.2 * 2**attempt)
            file.flush()
            os.fsync(file.fileno())
        if hashed.hexdigest() != digest:
            raise ClientError(
                "digest_mismatch",
                f"The bytes of {target.name} are not those that were asked for; nothing was written.",
                field=target.name,
                value=f"sha256 {hashed.hexdigest()}",
                limit=f"sha256 {digest}",
                hint="Try again. If that does not help, the stored file is damaged: tell the plane's operator.",
            )
        os.replace(staged, target)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def _receive(transport: PlaneTransport, path: str, digest: str, file: BinaryIO, hashed: Any) -> None:
    """Append what is missing; a plane that ignores the range sends all of it again."""
    done = file.tell()
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": f'"sha256:{digest}"'}
    with transport.stream(path, headers=headers) as answer:
        skip = done if done and answer.status_code != 206 else 0
        for chunk in answer.iter_bytes(CHUNK_BYTES):
            part, skip = chunk[skip:], max(0, skip - len(chunk))
            file.write(part)
            hashed.update(part)


def hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_there(target: Path, digest: str) -> bool:
    if not target.exists():
        return False
    if target.is_file() and hash_file(target) == digest:
        return True
    raise ClientError(
        "output_exists",
        f"{target} is there already, with other content; nothing was written.",
        field="-o",
        value=str(target),
        limit="a folder without this file, or with the same bytes in it",
        hint="Name another folder, or remove this file first.",
    )
