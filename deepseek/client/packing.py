"""The code of a `script` job: a folder as a zip that is equal, byte for byte, for equal files.

What goes in: in a Git repository what `git ls-files` names (tracked, and new files that no rule ignores), as it is in
the working tree; elsewhere every file but those of `.gitignore`. `.deepseekignore` leaves out more, in the same syntax.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deepseek.client.errors import ClientError
from deepseek.client.ignore_rules import IgnoreRule, is_ignored, parse_ignore_rules

MAX_CODE_BYTES = 100 * 2**20
MAX_CODE_FILES = 20_000
LARGEST_NAMED = 5
RECORD_PATH = ".deepseek/code.json"
RECORD_SCHEMA = "plane/code/v1"
IGNORE_FILE = ".deepseekignore"
ALWAYS_IGNORED = """\
.git
.hg
.svn
.deepseek/
__pycache__/
*.py[cod]
.ipynb_checkpoints/
.venv/
venv/
node_modules/
.mypy_cache/
.pytest_cache/
.ruff_cache/
.DS_Store
"""
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold
GIT_SECONDS = 60


@dataclass(frozen=True)
class CodeFolder:
    """What will be packed: paths with forward slashes, sorted; the commit, empty outside Git; what was left out."""

    root: Path
    files: tuple[str, ...]
    size: int
    commit: str = ""
    is_dirty: bool = False
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        commit = f", commit {self.commit[:12]}{' with changes' if self.is_dirty else ''}" if self.commit else ""
        return f"{len(self.files)} file{'s' * (len(self.files) != 1)}, {format_size(self.size)}{commit}"


def scan_code_folder(root: Path) -> CodeFolder:
    """The files of `root` that are its code. Raises ClientError ``code_too_large``, naming the largest files."""
    commit, is_dirty, names = "", False, _list_git_files(root)
    rules = parse_ignore_rules(ALWAYS_IGNORED)
    if names is None:
        rules += _read_rules(root / ".gitignore")
        names = list(_walk(root))
    else:
        commit, is_dirty = _read_git_state(root)
    rules += _read_rules(root / IGNORE_FILE)
    sizes, left_out = dict[str, int](), list[str]()
    for name in sorted(set(names)):
        path = root / name
        if is_ignored(name, rules) or not (path.exists() or path.is_symlink()):
            continue  # or a tracked file that was removed
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            sizes[name] = path.stat().st_size
        else:
            left_out.append(name)  # a link out of the folder, a nested repository, a socket
    _check_limits(root, sizes)
    return CodeFolder(root, tuple(sizes), sum(sizes.values()), commit, is_dirty, tuple(left_out))


def write_code_zip(folder: CodeFolder, file: IO[bytes]) -> str:
    """Write the zip and return its SHA-256. Stored, not deflated: compressors differ, and with them the digest."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in folder.files:
            path = folder.root / name
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with archive.open(_build_entry(name, mode), "w") as entry, open(path, "rb") as source:
                while chunk := source.read(1 << 20):
                    entry.write(chunk)
        if folder.commit:
            record = {"schema": RECORD_SCHEMA, "commit": folder.commit, "dirty": folder.is_dirty}
            archive.writestr(_build_entry(RECORD_PATH, 0o644), json.dumps(record, sort_keys=True) + "\n")
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def format_size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _build_entry(name: str, mode: int) -> zipfile.ZipInfo:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ClientError(
            "bad_file_name",
            f"The name of the file {name!r} is not UTF-8.",
            field="--folder",
            value=repr(name),
            hint=f"Rename the file, or name it in {IGNORE_FILE}.",
        ) from None
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix, wherever it is packed
    entry.external_attr = (0o100000 | mode) << 16
    return entry


def _check_limits(root: Path, sizes: Mapping[str, int]) -> None:
    total = sum(sizes.values())
    if total <= MAX_CODE_BYTES and len(sizes) <= MAX_CODE_FILES:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:LARGEST_NAMED]
    names = ", ".join(f"{name} ({format_size(sizes[name])})" for name in largest)
    raise ClientError(
        "code_too_large",
        f"The code folder {root} holds {len(sizes)} files of {format_size(total)} in all; the largest: {names}.",
        field="--folder",
        value=f"{format_size(total)}, {len(sizes)} files",
        limit=f"{format_size(MAX_CODE_BYTES)}, {MAX_CODE_FILES} files",
        hint=f"Name what is no code in {IGNORE_FILE}; data goes in as a dataset: deepseek data put.",
    )


# -- which files ----------------------------------------------------------------------------------------------------
def _list_git_files(root: Path) -> list[str] | None:
    """The paths below `root` that Git does not ignore, or None: not a repository, or no git on this machine."""
    listed = _run_git(root, "ls-files", "-z", "-co", "--exclude-standard")
    return None if listed is None else [name for name in os.fsdecode(listed).split("\0") if name]


def _read_git_state(root: Path) -> tuple[str, bool]:
    """The commit, and whether the folder differs from it; no commit yet: empty."""
    commit = _run_git(root, "rev-parse", "--verify", "HEAD")
    changes = _run_git(root, "status", "--porcelain", "--untracked-files=all", "--", ".")
    return (commit or b"").decode().strip(), bool((changes or b"").strip())


def _run_git(root: Path, *words: str) -> bytes | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _walk(root: Path) -> Iterator[str]:
    skipped = parse_ignore_rules(ALWAYS_IGNORED)
    for parent, folders, names in os.walk(root):
        where = Path(parent).relative_to(root)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        folders[:] = [
            name for name in folders if name not in links and not is_ignored((where / name / "x").as_posix(), skipped)
        ]
        yield from ((where / name).as_posix() for name in [*names, *links])


def _read_rules(path: Path) -> list[IgnoreRule]:
    try:
        return parse_ignore_rules(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return []
