"""The files of a run or a logged model on their way into the store, one by one; rows of holdings for many at once."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.actors import Actor
from apps.gateways.mlflow_import.checks import check_path
from apps.gateways.mlflow_import.services import File
from apps.gateways.mlflow_import.source_records import FoundFile, FoundLoggedModel, FoundRun, Source, Unreadable
from apps.gateways.mlflow_import.transport import Interrupted
from apps.platform.accounts.models import Project
from apps.platform.artifacts import file_names
from apps.platform.artifacts.bulk_sql import Stored, hold_many
from apps.platform.artifacts.services import is_marked_damaged, require_room
from apps.platform.artifacts.stores import store

TRIES = 3  # of a file whose bytes are cut off
HELD_TOGETHER = 200  # files, so that a killed import has what it brought


@dataclass(slots=True)
class Files:
    """`here`: path -> size of the files that its row has already; those are not read again."""

    actor: Actor
    project: Project
    source: Source
    owner: FoundRun | FoundLoggedModel
    here: Mapping[str, int]
    dry: bool
    note: Callable[[str], None]
    count: int = 0  # files that the source has
    bytes: int = 0
    paths: set[str] = field(default_factory=set)

    def store(self) -> list[File]:
        """Put those that are new into the store, held by the project; in a dry run only count them."""
        stored: list[File] = []
        for part in parts(self.fresh(), HELD_TOGETHER):
            if self.dry:
                continue
            require_room(self.project, sum(file.size for file in part))
            brought = [(file.path, kept) for file in part if (kept := self.bring(file)) is not None]
            if brought:
                hold_many(actor=self.actor, project=self.project, stored=[kept for _, kept in brought])
            stored += brought
        return stored

    def fresh(self) -> Iterator[FoundFile]:
        for each in self.source.files(self.owner):
            if isinstance(each, Unreadable):
                self.note(str(each))
                continue
            self.count += 1
            self.bytes += each.size
            self.paths.add(each.path)
            if self.here.get(each.path, each.size) != each.size:
                self.note(
                    f"{each.path} has {each.size} bytes there and {self.here[each.path]} here; it was not changed"
                )
            elif each.path not in self.here:
                try:
                    check_path(each.path)
                except Unreadable as error:
                    self.note(str(error))
                    continue
                yield each

    def bring(self, file: FoundFile) -> Stored | None:
        """Stream one file into the store; None, and a note, where it cannot be read whole."""
        why = ""
        for _ in range(TRIES):
            try:
                with store().open_staging() as staging:
                    for chunk in self.source.read(self.owner, file):
                        staging.write(chunk)
                    if staging.size != file.size:
                        raise Interrupted(f"{file.size} bytes were announced and {staging.size} came")
                    staging.publish(is_damaged=is_marked_damaged)
            except Interrupted as error:
                why = str(error)
                continue
            except Unreadable as error:
                why = str(error)
                break
            kind = mimetypes.guess_type(file.path)[0] or file_names.OCTETS
            stored = staging.stored
            return Stored(stored.digest, stored.size, file.path, kind, stored.chunks, stored.replaced)
        self.note(f"{file.path}: {why}")
        return None

    def held(self, rows: Any, prefix: str = "") -> dict[str, int]:
        """How many of the files that were found `rows` have, and their bytes."""
        sizes = [size for path, size in rows.values_list("path", "size") if path in self.paths]
        return {f"{prefix}files": len(sizes), f"{prefix}bytes": sum(sizes)}


def parts(files: Iterator[FoundFile], size: int) -> Iterator[list[FoundFile]]:
    part: list[FoundFile] = []
    for file in files:
        part.append(file)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
