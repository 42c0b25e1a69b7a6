"""Installed versions: a folder for each release, named by its digest, that is put in place whole."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentError, ReleaseRefused
from deepseek.agent.storage.disk import read_json, sync_tree
from deepseek.agent.storage.home import Home
from deepseek.agent.updating.downloads import measure_file, verify_file
from deepseek.job import EngineError
from deepseek.signing.dsse import Envelope
from deepseek.signing.statements import ReleaseFile, ReleaseStatement

SERVED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MODEL_FOLDER, RELEASE_FILE, INSTALLED_FILE = "model", "release.json", "installed.json"
PROVENANCE_FILE = "provenance.json"
COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class InstalledVersion:
    """A release on the disk. `folder` is what a server is started with."""

    release: str
    statement: ReleaseStatement
    folder: Path

    @property
    def samples(self) -> Path | None:
        return None if self.statement.samples is None else self.folder / self.statement.samples


def get_served_name(statement: ReleaseStatement) -> str:
    """The model's name in its server: `model` where `deepseek serve` does not take its own."""
    return statement.model if SERVED_NAME.fullmatch(statement.model) else "model"


def get_staged_model(home: Home, release: str) -> Path:
    """Where the files of a release are put together before it is installed."""
    return home.staging / release / MODEL_FOLDER


def verify_files(folder: Path, statement: ReleaseStatement) -> None:
    """Raise ReleaseRefused unless `folder` holds the files of the release, byte for byte, and no others."""
    names = {file.name for file in statement.files}
    missing = [name for name in sorted(names) if not (folder / name).is_file()]
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in names)
    if missing or foreign:
        raise ReleaseRefused(
            "files_wrong",
            "The files are not those that the release names.",
            field="files",
            value=f"missing: {', '.join(missing) or 'none'}; more: {', '.join(foreign)[:200] or 'none'}",
            limit=", ".join(sorted(names)),
            hint="Fetch or copy the release again, whole.",
        )
    for file in statement.files:
        verify_file(folder / file.name, file)


def install_staged(
    home: Home, release: str, envelope: dict[str, Any], assignment: str, provenance: dict[str, Any] | None = None
) -> None:
    """Move the verified files of a release to its place, or over those of the same release that are there already.

    A server may run from that place, and it may be the one to fall back to: it is never removed.
    """
    target, staged = home.get_version_folder(release), home.staging / release
    (staged / RELEASE_FILE).write_text(json.dumps(envelope))
    (staged / INSTALLED_FILE).write_text(json.dumps({"assignment": assignment}))
    if provenance is not None:
        (staged / PROVENANCE_FILE).write_text(json.dumps(provenance))
    sync_tree(staged)  # before a file of it replaces one that is on the disk
    if target.exists():
        for path in sorted((staged / MODEL_FOLDER).iterdir()):
            home.disk.move(path, target / MODEL_FOLDER / path.name)
        write_assignment(home, release, assignment)
        home.disk.remove_tree(staged)
        return
    home.disk.move(staged, target)


def load_version(home: Home, release: str) -> InstalledVersion:
    """An installed version. Raises SigningError, AgentError ``version_damaged`` or OSError where it is damaged."""
    statement = ReleaseStatement.parse(read_envelope(home, release).payload)
    return InstalledVersion(release, statement, home.get_version_folder(release) / MODEL_FOLDER)


def read_envelope(home: Home, release: str) -> Envelope:
    """The signed release of an installed version, as it was when it was installed. Raises as `load_version` does."""
    path = home.get_version_folder(release) / RELEASE_FILE
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise AgentError(
            "version_damaged",
            f"The installed version cannot be read: {path.name} is not JSON.",
            field=path.name,
            value=str(error),
            limit="the signed release that was installed",
            hint="Assign the release again, or another one.",
        ) from None
    return Envelope.from_document(document)


def write_assignment(home: Home, release: str, assignment: str) -> None:
    """Remember which assignment brought an installed version: its receipt names it."""
    home.disk.write_json(home.get_version_folder(release) / INSTALLED_FILE, {"assignment": assignment})


def read_assignment(home: Home, release: str) -> str:
    """The assignment that brought an installed version, or asked for it again; empty for one that was carried here."""
    installed = read_json(home.get_version_folder(release) / INSTALLED_FILE) or {}
    return str(installed.get("assignment") or "")


def is_intact(home: Home, release: str) -> bool:
    """Whether the files of an installed version are what its release names."""
    try:
        version = load_version(home, release)
        return all(
            measure_file(version.folder / file.name) == (file.sha256, file.size) for file in version.statement.files
        )
    except (OSError, ValueError, EngineError):
        return False


def link_known_files(home: Home, statement: ReleaseStatement, staged: Path) -> None:
    """Link files that an installed version has already: a release of an older variant costs no download.

    Files of versions are replaced and never changed, so that two versions may share one.
    """
    for folder in home.versions.iterdir():
        try:
            version = load_version(home, folder.name)
        except (OSError, ValueError, EngineError):
            continue
        existing_files = {file.sha256: version.folder / file.name for file in version.statement.files}
        for file in statement.files:
            target, source = staged / file.name, existing_files.get(file.sha256)
            if source is None or target.exists():
                continue
            with suppress(OSError, ReleaseRefused):
                os.link(source, target)
                verify_file(target, file)


def remove_unused(home: Home, keep: set[str | None], staging: set[str | None]) -> None:
    """Remove versions and staging folders that nothing needs any more."""
    for parent, kept in ((home.versions, keep), (home.staging, staging)):
        for folder in parent.iterdir():
            if folder.name not in kept:
                home.disk.remove_tree(folder)


def copy_model(source: Path, target: Path, files: tuple[ReleaseFile, ...]) -> None:
    """Copy files of a carried folder; links are not followed. Raises OSError, also for a file of another size, of which
    no more than a byte too many is copied."""
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        descriptor = os.open(source / file.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as original, (target / file.name).open("wb") as copy:
            left = file.size + 1
            while left and (chunk := original.read(min(left, COPY_BYTES))):
                copy.write(chunk)
                left -= len(chunk)
        if left != 1:
            raise OSError(f"{file.name} has another size than the release names, {file.size} bytes")
