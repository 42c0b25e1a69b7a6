"""Turn the files of a pushed commit into those of a version: LFS pointers resolve to artifacts, others are stored."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from apps.core.errors import Invalid, PlaneError, TooLarge
from apps.data.datasets.ingest import csv_inspection
from apps.data.datasets.ingest.parts_inspection import inspect_parts
from apps.data.datasets.models import DatasetFile
from apps.data.datasets.queries import iter_chunks
from apps.data.datasets.versions.manifest import (
    CSV,
    FILES_LIMIT,
    VersionFile,
    check_files,
    check_path,
    choose_media_type,
    find_main_table,
    format_csv_type,
    guess_media_type,
    is_table_of_parts,
    parse_dialect,
)
from apps.data.repositories.access import RepositoryTarget
from apps.data.repositories.gitattributes import is_git_file
from apps.data.repositories.models import Commit
from apps.data.repositories.objects import POINTER_LIMIT, parse_pointer
from apps.data.repositories.push_checks import Move
from apps.data.repositories.trees import BlobReader, QuarantinedObjects, TreeEntry
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services import publish_upload, require_room, require_undamaged
from deepseek.messages import N_, Message
from deepseek.tables.csv_dialect import HEAD_BYTES, CsvDialect, guess_dialect

GIT_FILE_LIMIT = 64 << 10  # bytes of one .gitattributes or the like
GIT_FILES_TOTAL_LIMIT = 1 << 20  # bytes of all of them: they stand in the commit's row
MAX_INSPECTED_BYTES = 32 << 20  # a larger table is measured by a job; a push answers within seconds
MAX_SNIFFED_FILES = 1000  # CSV files of a push whose first bytes are looked at
MAX_NAMED_PATHS = 5  # paths that a refusal names
MODES = {"100644", "100755"}
REFUSED_MODES = {"120000": "a symbolic link", "160000": "a submodule", "40000": "a folder"}


@dataclass(slots=True)
class PushContents:
    """`changed`: paths that differ from the commit before, those that are gone included; `old_paths`: all it had."""

    files: list[VersionFile]
    media_type: str
    kept: dict[str, str]
    changed: set[str]
    old_paths: Container[object]
    rows: int | None = None
    part_rows: Mapping[str, int] | None = None  # of each file, where they are the parts of one table
    columns: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_contents(
    target: RepositoryTarget,
    last: Commit | None,
    move: Move,
    objects: QuarantinedObjects,
    new_artifacts: list[Artifact] | None = None,
) -> PushContents:
    """Read the tree of the tip, store what is not in LFS, and look into its main table. No transaction is open.

    Each stored artifact is appended to `new_artifacts` at once, so that a later refusal can remove it.

    Raises Invalid naming the path: a link, a path of nonsense, a pointer whose bytes have not been sent.
    """
    entries = objects.list_entries(move.new)
    before = objects.list_entries(last.sha) if last else {}
    check_entries(entries, before)
    previous_files = list_previous_files(last)
    with objects.open_reader() as reader:
        git_files = read_git_files(entries, reader)
        artifacts = collect_artifacts(
            target,
            entries,
            map_previous_artifacts(before, previous_files),
            reader,
            [] if new_artifacts is None else new_artifacts,
        )
    changed = {path for path in entries.keys() | before.keys() if get_sha(entries, path) != get_sha(before, path)}
    files = assign_media_types(artifacts, previous_files)
    check_files(files, before)
    contents = PushContents(files, choose_media_type(files), git_files, changed, before)
    if is_table_of_parts(files):
        compare_parts(contents)
    else:
        inspect_main_table(contents, last)
    return contents


def get_sha(entries: Mapping[str, TreeEntry], path: str) -> str:
    return entries[path].sha if path in entries else ""


def check_entries(entries: Mapping[str, TreeEntry], before: Mapping[str, TreeEntry]) -> None:
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
    data = [path for path in entries if not is_git_file(path)]
    if not data:
        raise Invalid(
            "The commit has no file of data.",
            code="no_files",
            limit=f"1 to {FILES_LIMIT} files",
            hint=N_("Add one: git add table.csv."),
        )


def read_git_files(entries: Mapping[str, TreeEntry], reader: BlobReader) -> dict[str, str]:
    """{path: text} of .gitattributes and the like."""
    git_entries = {path: entry for path, entry in entries.items() if is_git_file(path)}
    size = sum(entry.size for entry in git_entries.values())
    if size > GIT_FILES_TOTAL_LIMIT:
        raise Invalid(
            "The {count} files that are Git's own have {size} bytes.",
            count=len(git_entries),
            size=size,
            code="kept_too_large",
            limit=GIT_FILES_TOTAL_LIMIT,
        )
    return {path: read_git_file(path, entry, reader) for path, entry in git_entries.items()}


def read_git_file(path: str, entry: TreeEntry, reader: BlobReader) -> str:
    if entry.size > GIT_FILE_LIMIT:
        raise Invalid(
            "{path} has {entry_size} bytes.",
            path=path,
            entry_size=entry.size,
            code="kept_too_large",
            field="path",
            limit=GIT_FILE_LIMIT,
        )
    data = reader.read_blob(entry.sha)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Invalid("{path} is not UTF-8.", path=path, code="kept_undecodable", field="path") from None
    if "\0" in text:  # which no database keeps
        raise Invalid("{path} holds the character NUL.", path=path, code="kept_undecodable", field="path")
    return text


def list_previous_files(last: Commit | None) -> dict[str, tuple[Artifact, str]]:
    """{path: (artifact, media type)} of the version before."""
    if last is None or last.version_id is None:
        return {}
    files = DatasetFile.objects.filter(version=last.version_id).select_related("artifact")
    return {file.path: (file.artifact, file.media_type) for file in files}


def map_previous_artifacts(
    before: Mapping[str, TreeEntry], previous_files: Mapping[str, tuple[Artifact, str]]
) -> dict[str, Artifact]:
    """{blob: artifact} of the commit before: what has not changed is not read again."""
    return {entry.sha: previous_files[path][0] for path, entry in before.items() if path in previous_files}


# -- bytes ----------------------------------------------------------------------------------------------------------
def collect_artifacts(
    target: RepositoryTarget,
    entries: Mapping[str, TreeEntry],
    known_blobs: dict[str, Artifact],
    reader: BlobReader,
    new_artifacts: list[Artifact],
) -> dict[str, Artifact]:
    """{path: artifact} of every file of data; those that are not in LFS are stored now, each once."""
    artifacts: dict[str, Artifact] = {}
    pointers: dict[str, tuple[str, int]] = {}
    blobs: dict[str, str] = {}
    for path, entry in entries.items():
        if is_git_file(path):
            continue
        if entry.sha in known_blobs:
            artifacts[path] = require_undamaged(known_blobs[entry.sha])
            continue
        pointer = parse_pointer(reader.read_blob(entry.sha)) if entry.size < POINTER_LIMIT else None
        if pointer:
            pointers[path] = pointer
        else:
            blobs[path] = entry.sha
    artifacts |= get_pointed_artifacts(target, pointers)
    require_room(target.project, sum(entries[path].size for path in blobs))
    for path, sha in blobs.items():
        if sha not in known_blobs:
            known_blobs[sha] = store_blob(target, path, entries[path], reader)
            new_artifacts.append(known_blobs[sha])
        artifacts[path] = known_blobs[sha]
    return artifacts


def get_pointed_artifacts(target: RepositoryTarget, pointers: Mapping[str, tuple[str, int]]) -> dict[str, Artifact]:
    """The artifacts that pointers name; Invalid names the paths whose bytes the project does not hold."""
    digests = {digest for digest, _ in pointers.values()}
    rows = Holding.objects.readable_by(target.actor).filter(project=target.project, artifact__in=digests)
    artifacts = {row.artifact_id: row.artifact for row in rows.select_related("artifact")}
    missing = [
        path for path, (digest, size) in pointers.items() if digest not in artifacts or artifacts[digest].size != size
    ]
    if missing:
        more = (
            Message(" and {count} more", count=len(missing) - MAX_NAMED_PATHS) if len(missing) > MAX_NAMED_PATHS else ""
        )
        raise Invalid(
            "The bytes of {missing}{more} are not here, only LFS pointers: not sent, or damaged.",
            missing=", ".join(missing[:MAX_NAMED_PATHS]),
            more=more,
            code="lfs_missing",
            field="path",
            limit="every LFS object of the commit",
            hint=N_("Send them (git lfs push --all origin main), then push again."),
        )
    return {path: require_undamaged(artifacts[digest]) for path, (digest, _) in pointers.items()}


def store_blob(target: RepositoryTarget, path: str, entry: TreeEntry, reader: BlobReader) -> Artifact:
    """A blob of Git as an artifact of the project."""
    try:
        return publish_upload(
            actor=target.actor,
            project=target.project,
            stream=reader.iter_chunks(entry.sha),
            expected_size=entry.size,
            name=path,
            media_type=guess_media_type(path),
            may_be_empty=True,
        ).artifact
    except TooLarge as error:
        raise Invalid(
            "{path}: {problem}", path=path, problem=error.message, code=error.code, field="path", limit=error.limit
        ) from None


# -- types and rows -------------------------------------------------------------------------------------------------
def assign_media_types(
    artifacts: Mapping[str, Artifact], previous_files: Mapping[str, tuple[Artifact, str]]
) -> list[VersionFile]:
    """With media types: as the version before has them where the bytes are the same, else by name and first bytes."""
    files: list[VersionFile] = []
    sniffed = 0
    for path, artifact in artifacts.items():
        before = previous_files.get(path)
        kind = guess_media_type(path)
        if before is not None and before[0].pk == artifact.pk:
            kind = before[1]
        elif kind == CSV and sniffed < MAX_SNIFFED_FILES:
            sniffed += 1
            kind = format_csv_type(guess_dialect(read_first_bytes(artifact)) or CsvDialect())
        files.append((path, artifact, kind))
    return files


def read_first_bytes(artifact: Artifact) -> bytes:
    data = bytearray()
    with closing(iter_chunks(artifact)) as chunks:
        for chunk in chunks:
            data += chunk
            if len(data) >= HEAD_BYTES:
                break
    return bytes(data[:HEAD_BYTES])


def compare_parts(contents: PushContents) -> None:
    """Take Parquet files of one schema for the parts of one table. Others are a version of files, as a folder may hold
    tables of their own: whoever pushes reads how they differ.
    """
    try:
        parts = inspect_parts(contents.files)
    except Invalid as error:
        contents.warnings.append(f"These Parquet files are not the parts of one table: {error.message}")
    else:
        contents.rows, contents.columns, contents.part_rows = parts.total_rows, parts.columns, parts.rows


def inspect_main_table(contents: PushContents, last: Commit | None) -> None:
    """Rows and columns of the main table: those of the version before where it is the same, else by reading it once.

    A table that cannot be read makes no push fail: its rows stay unknown, and whoever pushes reads why.
    """
    table = find_main_table(contents.files)
    if table is None:
        return
    path, artifact, kind = table
    previous = last.version if last and last.version_id else None
    if previous is not None and previous.rows is not None:
        before = find_main_table(
            [(f.path, f.artifact, f.media_type) for f in previous.files.select_related("artifact")]
        )
        if before is not None and before[1:] == (artifact, kind):
            contents.rows, contents.columns = previous.rows, list(previous.columns)
            return
    dialect = parse_dialect(kind)
    if dialect is None or artifact.size > MAX_INSPECTED_BYTES:
        return
    try:
        inspection = csv_inspection.inspect_file(iter_chunks(artifact.digest), artifact.size, dialect)
        contents.rows, contents.columns = inspection.rows, inspection.columns
    except PlaneError as error:
        contents.warnings.append(f"Warning: {path}: {error.message} Its rows stay unknown. {error.hint or ''}")
