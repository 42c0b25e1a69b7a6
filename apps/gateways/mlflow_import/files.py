"""Copy the files of a run or logged model into the store one by one; holdings are written in batches."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.gateways.mlflow_import.checks import check_path
from apps.gateways.mlflow_import.services import File
from apps.gateways.mlflow_import.source_records import Source, SourceFile, SourceLoggedModel, SourceRun, Unreadable
from apps.gateways.mlflow_import.transport import InterruptedDownload
from apps.platform.accounts.models import Project
from apps.platform.artifacts import file_names
from apps.platform.artifacts.bulk_sql import Stored, hold_many
from apps.platform.artifacts.scanning import UploadScan
from apps.platform.artifacts.services import is_marked_damaged, require_clean, require_room
from apps.platform.artifacts.stores import get_store

MAX_FILE_TRIES = 3  # of a file whose bytes are cut off
FILES_PER_HOLD = 200  # files, so that a killed import has what it brought


@dataclass(slots=True)
class FileImporter:
    """Import the files of one run or model. `existing_sizes`: {path: size} of files already stored, not read again."""

    actor: Actor
    project: Project
    source: Source
    owner: SourceRun | SourceLoggedModel
    existing_sizes: Mapping[str, int]
    dry: bool
    note: Callable[[str], None]
    count: int = 0  # files that the source has
    bytes: int = 0
    paths: set[str] = field(default_factory=set)

    def store(self) -> list[File]:
        """Put those that are new into the store, held by the project; in a dry run only count them."""
        stored: list[File] = []
        for part in batch_files(self.iter_new_files(), FILES_PER_HOLD):
            if self.dry:
                continue
            require_room(self.project, sum(file.size for file in part))
            new_files = [
                (file.path, stored_file) for file in part if (stored_file := self.store_file(file)) is not None
            ]
            if new_files:
                hold_many(actor=self.actor, project=self.project, stored=[stored_file for _, stored_file in new_files])
            stored += new_files
        return stored

    def iter_new_files(self) -> Iterator[SourceFile]:
        for file in self.source.iter_files(self.owner):
            if isinstance(file, Unreadable):
                self.note(str(file))
                continue
            self.count += 1
            self.bytes += file.size
            self.paths.add(file.path)
            if self.existing_sizes.get(file.path, file.size) != file.size:
                self.note(
                    f"{file.path} has {file.size} bytes there and {self.existing_sizes[file.path]} here; "
                    "it was not changed"
                )
            elif file.path not in self.existing_sizes:
                try:
                    check_path(file.path)
                except Unreadable as error:
                    self.note(str(error))
                    continue
                yield file

    def store_file(self, file: SourceFile) -> Stored | None:
        """Stream one file into the store; None, and a note, where it cannot be read whole, or the scanner refuses it.

        Raises Unavailable `scan_failed` where the scanner gives no answer: what has come stays, the import can go on.
        """
        reason = ""
        for _ in range(MAX_FILE_TRIES):
            try:
                with get_store().open_staging() as staging, UploadScan() as scan:
                    for chunk in self.source.read(self.owner, file):
                        staging.write(chunk)
                        scan.write(chunk)
                    if staging.size != file.size:
                        raise InterruptedDownload(f"{file.size} bytes were announced and {staging.size} came")
                    require_clean(self.actor, self.project, scan, file.path)
                    staging.publish(is_damaged=is_marked_damaged)
            except InterruptedDownload as error:
                reason = str(error)
                continue
            except (Unreadable, Invalid) as error:  # Invalid: the scanner found something
                reason = str(error)
                break
            media_type = mimetypes.guess_type(file.path)[0] or file_names.OCTETS
            stored = staging.stored
            return Stored(stored.digest, stored.size, file.path, media_type, stored.chunks, stored.replaced)
        self.note(f"{file.path}: {reason}")
        return None

    def count_imported(self, rows: Any, prefix: str = "") -> dict[str, int]:
        """How many of the files that were found `rows` have, and their bytes."""
        sizes = [size for path, size in rows.values_list("path", "size") if path in self.paths]
        return {f"{prefix}files": len(sizes), f"{prefix}bytes": sum(sizes)}


def batch_files(files: Iterator[SourceFile], size: int) -> Iterator[list[SourceFile]]:
    batch: list[SourceFile] = []
    for file in files:
        batch.append(file)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
