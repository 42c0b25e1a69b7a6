"""The files of a pushed commit, as a version has them: pointers lead to artifacts, other files become some."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from apps.core.errors import Invalid, PlaneError, TooLarge
from apps.data.datasets.ingest import csv_inspection
from apps.data.datasets.models import DatasetFile
from apps.data.datasets.queries import chunks_of
from apps.data.datasets.versions.manifest import (
    CSV,
    FILES_LIMIT,
    VersionFile,
    check_files,
    check_path,
    csv_type,
    dialect_of,
    main_table,
    type_of_files,
    type_of_path,
)
from apps.data.repositories.access import Asked
from apps.data.repositories.gitattributes import is_kept
from apps.data.repositories.models import Commit
from apps.data.repositories.objects import POINTER_LIMIT, pointed
from apps.data.repositories.push_checks import Move
from apps.data.repositories.trees import Entry, Objects, Reader
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services import publish_upload, require_room, usable
from deepseek.messages import N_, Message
from deepseek.tables.csv_dialect import HEAD_BYTES, CsvDialect, guess_dialect

KEPT_LIMIT = 64 << 10  # bytes of one .gitattributes or the like
KEPT_IN_ALL = 1 << 20  # bytes of all of them: they stand in the commit's row
INSPECTED_BYTES = 32 << 20  # a larger table is measured by a job; a push answers within seconds
SNIFFED = 1000  # CSV files of a push whose first bytes are looked at
NAMED = 5  # paths that a refusal names
MODES = {"100644", "100755"}
REFUSED_MODES = {"120000": "a symbolic link", "160000": "a submodule", "40000": "a folder"}


@dataclass(slots=True)
class Contents:
    """`changed`: paths that differ from the commit before, those that are gone included; `old_paths`: all it had."""

    files: list[VersionFile]
    media_type: str
    kept: dict[str, str]
    changed: set[str]
    old_paths: Container[object]
    rows: int | None = None
    columns: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def contents_of(
    place: Asked, last: Commit | None, move: Move, objects: Objects, put: list[Artifact] | None = None
) -> Contents:
    """Read the tree of the tip, store what is not in LFS, and look into its main table. No transaction is open.

    What is stored is added to `put` at once, so that whoever refuses the push later can take it back.

    Raises Invalid naming the path: a link, a path of nonsense, a pointer whose bytes have not been sent.
    """
    entries = objects.entries(move.new)
    before = objects.entries(last.sha) if last else {}
    check_entries(entries, before)
    known = files_before(last)
    with objects.reading() as reader:
        kept = kept_of(entries, reader)
        artifacts = artifacts_of(place, entries, artifacts_before(before, known), reader, [] if put is None else put)
    changed = {path for path in entries.keys() | before.keys() if sha_at(entries, path) != sha_at(before, path)}
    files = typed(artifacts, known)
    check_files(files, before)
    contents = Contents(files, type_of_files(files), kept, changed, before)
    look_into(contents, last)
    return contents


def sha_at(entries: Mapping[str, Entry], path: str) -> str:
    return entries[path].sha if path in entries else ""


def check_entries(entries: Mapping[str, Entry], before: Mapping[str, Entry]) -> None:
    """Raise Invalid for what is no file, or has a bad path (check_path) that the commit `before` does not have."""
    for path, entry in entries.items():
        if entry.mode not in MODES:
            what = REFUSED_MODES.get(entry.mode, f"of the mode {entry.mode}")
            raise Invalid(
                "{path} is {what}: a version has files only.",
                path=path[:200],
                what=what,
                code="not_a_file",
                field="path",
                limit="files",
                hint=N_("Take it out (git rm --cached PATH), commit, and push again."),
            )
        check_path(path, "path", before)
    data = [path for path in entries if not is_kept(path)]
    if not data:
        raise Invalid(
            "The commit has no file of data.",
            code="no_files",
            limit=f"1 to {FILES_LIMIT} files",
            hint=N_("Add one: git add table.csv."),
        )


def kept_of(entries: Mapping[str, Entry], reader: Reader) -> dict[str, str]:
    """{path: text} of .gitattributes and the like."""
    found = {path: entry for path, entry in entries.items() if is_kept(path)}
    size = sum(entry.size for entry in found.values())
    if size > KEPT_IN_ALL:
        raise Invalid(
            "The {count} files that are Git's own have {size} bytes.",
            count=len(found),
            size=size,
            code="kept_too_large",
            limit=KEPT_IN_ALL,
        )
    return {path: kept_text(path, entry, reader) for path, entry in found.items()}


def kept_text(path: str, entry: Entry, reader: Reader) -> str:
    if entry.size > KEPT_LIMIT:
        raise Invalid(
            "{path} has {entry_size} bytes.",
            path=path,
            entry_size=entry.size,
            code="kept_too_large",
            field="path",
            limit=KEPT_LIMIT,
        )
    data = reader.bytes_of(entry.sha)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Invalid("{path} is not UTF-8.", path=path, code="kept_undecodable", field="path") from None
    if "\0" in text:  # which no database keeps
        raise Invalid("{path} holds the character NUL.", path=path, code="kept_undecodable", field="path")
    return text


def files_before(last: Commit | None) -> dict[str, tuple[Artifact, str]]:
    """{path: (artifact, media type)} of the version before."""
    if last is None or last.version_id is None:
        return {}
    files = DatasetFile.objects.filter(version=last.version_id).select_related("artifact")
    return {file.path: (file.artifact, file.media_type) for file in files}


def artifacts_before(before: Mapping[str, Entry], known: Mapping[str, tuple[Artifact, str]]) -> dict[str, Artifact]:
    """{blob: artifact} of the commit before: what has not changed is not read again."""
    return {entry.sha: known[path][0] for path, entry in before.items() if path in known}


# -- bytes ----------------------------------------------------------------------------------------------------------
def artifacts_of(
    place: Asked, entries: Mapping[str, Entry], known: dict[str, Artifact], reader: Reader, put: list[Artifact]
) -> dict[str, Artifact]:
    """{path: artifact} of every file of data; those that are not in LFS are stored now, each once."""
    found: dict[str, Artifact] = {}
    pointers: dict[str, tuple[str, int]] = {}
    plain: dict[str, str] = {}
    for path, entry in entries.items():
        if is_kept(path):
            continue
        if entry.sha in known:
            found[path] = usable(known[entry.sha])
            continue
        pointer = pointed(reader.bytes_of(entry.sha)) if entry.size < POINTER_LIMIT else None
        if pointer:
            pointers[path] = pointer
        else:
            plain[path] = entry.sha
    found |= held(place, pointers)
    require_room(place.project, sum(entries[path].size for path in plain))
    for path, sha in plain.items():
        if sha not in known:
            known[sha] = stored(place, path, entries[path], reader)
            put.append(known[sha])
        found[path] = known[sha]
    return found


def held(place: Asked, pointers: Mapping[str, tuple[str, int]]) -> dict[str, Artifact]:
    """The artifacts that pointers name; Invalid names the paths whose bytes the project does not hold."""
    wanted = {digest for digest, _ in pointers.values()}
    rows = Holding.objects.filter(project=place.project, artifact__in=wanted).select_related("artifact")
    have = {row.artifact_id: row.artifact for row in rows}
    missing = [path for path, (digest, size) in pointers.items() if digest not in have or have[digest].size != size]
    if missing:
        more = Message(" and {count} more", count=len(missing) - NAMED) if len(missing) > NAMED else ""
        raise Invalid(
            "The bytes of {missing}{more} are not here, only LFS pointers: not sent, or damaged.",
            missing=", ".join(missing[:NAMED]),
            more=more,
            code="lfs_missing",
            field="path",
            limit="every LFS object of the commit",
            hint=N_("Send them (git lfs push --all origin main), then push again."),
        )
    return {path: usable(have[digest]) for path, (digest, _) in pointers.items()}


def stored(place: Asked, path: str, entry: Entry, reader: Reader) -> Artifact:
    """A blob of Git as an artifact of the project."""
    try:
        return publish_upload(
            actor=place.actor,
            project=place.project,
            stream=reader.chunks(entry.sha),
            expected_size=entry.size,
            name=path,
            media_type=type_of_path(path),
            may_be_empty=True,
        ).artifact
    except TooLarge as error:
        raise Invalid(
            "{path}: {problem}", path=path, problem=error.message, code=error.code, field="path", limit=error.limit
        ) from None


# -- types and rows -------------------------------------------------------------------------------------------------
def typed(artifacts: Mapping[str, Artifact], known: Mapping[str, tuple[Artifact, str]]) -> list[VersionFile]:
    """With media types: as the version before has them where the bytes are the same, else by name and first bytes."""
    files: list[VersionFile] = []
    sniffed = 0
    for path, artifact in artifacts.items():
        before = known.get(path)
        kind = type_of_path(path)
        if before is not None and before[0].pk == artifact.pk:
            kind = before[1]
        elif kind == CSV and sniffed < SNIFFED:
            sniffed += 1
            kind = csv_type(guess_dialect(first_bytes_of(artifact)) or CsvDialect())
        files.append((path, artifact, kind))
    return files


def first_bytes_of(artifact: Artifact) -> bytes:
    data = bytearray()
    with closing(chunks_of(artifact)) as chunks:
        for chunk in chunks:
            data += chunk
            if len(data) >= HEAD_BYTES:
                break
    return bytes(data[:HEAD_BYTES])


def look_into(contents: Contents, last: Commit | None) -> None:
    """Rows and columns of the main table: those of the version before where it is the same, else by reading it once.

    A table that cannot be read makes no push fail: its rows stay unknown, and whoever pushes reads why.
    """
    table = main_table(contents.files)
    if table is None:
        return
    path, artifact, kind = table
    same = last.version if last and last.version_id else None
    if same is not None and same.rows is not None:
        before = main_table([(f.path, f.artifact, f.media_type) for f in same.files.select_related("artifact")])
        if before is not None and before[1:] == (artifact, kind):
            contents.rows, contents.columns = same.rows, list(same.columns)
            return
    dialect = dialect_of(kind)
    if dialect is None or artifact.size > INSPECTED_BYTES:
        return
    try:
        found = csv_inspection.inspect(chunks_of(artifact.digest), artifact.size, dialect)
        contents.rows, contents.columns = found.rows, found.columns
    except PlaneError as error:
        contents.warnings.append(f"Warning: {path}: {error.message} Its rows stay unknown. {error.hint or ''}")
