"""Files of a version, their canonical manifest, and the media types of tables. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Container, Iterable, Sequence
from json.encoder import encode_basestring as quoted
from typing import Protocol
from urllib.parse import quote, unquote

from apps.core.errors import Invalid
from apps.core.portable_paths import find_path_defect, find_windows_defect
from apps.core.request_values import validate_choice
from deepseek.messages import N_, Message
from deepseek.tables.csv_dialect import AUTO, CsvDialect, is_delimiter
from deepseek.tables.csv_faults import ENCODINGS
from deepseek.tables.part_manifest import is_part_path

SCHEMA = "plane/dataset-manifest/v1"
PATH_LIMIT = 255
FILES_LIMIT = 200_000  # their manifest is one text of some 40 MB, read whole only to be compared or sent
MAX_FILES_PER_BODY = 10_000  # named in one body; whoever has more ingests a folder, or pushes
PLAINEST_PATH = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*\Z", re.ASCII)  # a look that costs a third of the next one
PLAIN_PATH = re.compile(r"(?!/)(?!.*(?:^|/)\.{0,2}(?:/|\Z))[\x21-\x5b\x5d-\x7e ]{1,255}\Z")  # most, in one look
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
JSON_LINES = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.file"
TABLES = (CSV, PARQUET, JSON_LINES, ARROW)  # told apart by their first bytes, as the engine does
OTHER_TABLE_TYPES = (
    "application/jsonl",
    "application/vnd.apache.arrow.stream",
)  # tables as well, under types not given here
MEDIA_TYPE_BY_SUFFIX = {
    ".csv": CSV,
    ".parquet": PARQUET,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".arrow": ARROW,
    ".json": "application/json",
    ".txt": "text/plain",
    ".conll": "text/plain",
}
KIND_NAMES = {CSV: "CSV", PARQUET: "Parquet", JSON_LINES: "JSON lines", ARROW: "Arrow"}
UNKNOWN_TYPE = "application/octet-stream"
UPLOAD_PATH = "table.csv"  # of every uploaded table: the same bytes under another name are the same version
MEASURED_FORMATS = {
    "parquet": (PARQUET, "table.parquet"),
    "arrow": (ARROW, "table.arrow"),
    "json": (JSON_LINES, "table.jsonl"),
}
"""Formats besides CSV: media type, and what such a table is called in a version of its own."""
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*( ?; ?[a-z]+=[^\s;]+)*")


class StoredBytes(Protocol):
    """An artifact, or what will be one: ten thousand rows of the model cost more than the manifest of them."""

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> int: ...


VersionFile = tuple[str, StoredBytes, str]
"""(path inside the version, artifact, media type)"""


def render_manifest(files: Sequence[VersionFile]) -> str:
    """The canonical text whose digest names the version. Only of files that check_files has passed it is one."""
    # What encode_canonical_json makes of these rows, in a quarter of the time: of ten thousand files, that counts.
    rows = ",".join(
        f'{{"media_type":{quoted(media_type)},"path":{quoted(path)},"sha256":"{artifact.digest}","size":{artifact.size}}}'
        for path, artifact, media_type in sorted(files, key=lambda file: file[0])
    )
    return f'{{"files":[{rows}],"schema":{quoted(SCHEMA)}}}'


def parse_digests(manifest: str) -> set[str]:
    """The digests that a manifest names."""
    return {row["sha256"] for row in json.loads(manifest)["files"]}


def check_files(files: Sequence[VersionFile], old_paths: Container[object] = ()) -> None:
    """Raise Invalid for no file, too many, a path twice, or one that check_path refuses."""
    if not 1 <= len(files) <= FILES_LIMIT:
        raise Invalid(
            "A version of {count} files.",
            count=len(files),
            field="files",
            limit=f"1 to {FILES_LIMIT} files",
            hint=N_("Name its files."),
        )
    paths: set[str] = set()
    kinds: set[str] = set()
    for index, (path, _, media_type) in enumerate(files):
        check_path(path, f"/files/{index}/path", old_paths)
        if media_type not in kinds:
            check_media_type(media_type, f"/files/{index}/media_type")
            kinds.add(media_type)
        if path in paths:
            raise Invalid(
                "The path {path!r} is named twice.",
                path=path,
                field=f"/files/{index}/path",
                limit="every path once",
                hint=N_("Rename it."),
            )
        paths.add(path)
    folders = {path.rpartition("/")[0] for path in paths}
    if paths.isdisjoint(folders.union(*map(list_parents, folders))):
        return
    for index, (path, _, _) in enumerate(files):
        folder = next((parent for parent in list_parents(path) if parent in paths), None)
        if folder is not None:
            raise Invalid(
                "{folder!r} cannot be a file and the folder of {path!r}.",
                folder=folder,
                path=path,
                field=f"/files/{index}/path",
                limit="a path is a file or a folder",
                hint=N_("Rename one of them."),
            )


def check_media_type(media_type: str, field: str) -> None:
    if len(media_type) > 120 or not MEDIA_TYPE.fullmatch(media_type):
        raise Invalid(
            "{media_type!r} is not a media type.",
            media_type=media_type[:60],
            field=field,
            limit="type/subtype in lower case, up to 120 characters",
            hint=Message("For instance {csv} or {parquet}.", csv=CSV, parquet=PARQUET),
        )
    dialect = parse_dialect(media_type)
    if dialect is not None:  # Python has "encodings" that decompress; nothing but text is read later
        check_dialect(dialect.delimiter, dialect.encoding)


def check_dialect(delimiter: str, encoding: str) -> None:
    """Raise Invalid for a delimiter or an encoding that cleaning could not read either."""
    if not is_delimiter(delimiter):
        raise Invalid(
            "{delimiter!r} cannot part cells.",
            delimiter=delimiter[:10],
            code="bad_delimiter",
            field="delimiter",
            limit="one ASCII character other than a letter, a digit, a quote or a line end",
            hint=N_("Use a comma, a semicolon or a tab."),
        )
    validate_choice(
        "encoding",
        encoding,
        ENCODINGS,
        N_("{found!r} is not an encoding that can be read."),
        required=True,
        code="bad_encoding",
        hint=N_("gb18030 also reads GBK and GB2312."),
    )


def check_dialect_options(delimiter: str, encoding: str) -> None:
    """Raise Invalid for what is neither AUTO nor a way to read a CSV file."""
    check_dialect("," if delimiter == AUTO else delimiter, ENCODINGS[0] if encoding == AUTO else encoding)


def list_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def check_path(path: str, field: str, old_paths: Container[object] = ()) -> None:
    """Raise Invalid for anything but a relative POSIX path that means the same on every machine.

    `old_paths`: those that the version before has. They need not mean the same everywhere: else nothing could be added
    to a dataset that took such a name before it was refused, until somebody renames the file.
    """
    if (PLAINEST_PATH.match(path) and len(path) <= PATH_LIMIT) or PLAIN_PATH.match(path):
        reason = find_windows_defect(path)
    else:
        reason = find_shape_defect(path)
        if not reason:
            is_composed = unicodedata.normalize("NFC", path) == path
            reason = find_path_defect(path) if is_composed else Message("is not in Unicode's composed form (NFC)")
        else:
            old_paths = ()
    if reason and path not in old_paths:
        raise Invalid(
            "The path {path!r} {reason}.",
            path=path[:80],
            reason=reason,
            code="bad_path",
            field=field,
            limit=f"a relative path with forward slashes, up to {PATH_LIMIT} characters",
            hint=N_("For instance data/table.csv."),
        )


def find_shape_defect(path: str) -> str:
    """Why it is no relative path of a bounded length, as the rest of a sentence, or ""."""
    if not path:
        return Message("is empty")
    if len(path) > PATH_LIMIT:
        return Message("has {count} characters", count=len(path))
    if path.startswith("/"):
        return Message("is absolute")
    if any(part in ("", ".", "..") for part in path.split("/")):
        return Message("has a part that is empty, . or ..")
    return ""


def guess_media_type(path: str) -> str:
    """The media type that the end of a file's name suggests."""
    return MEDIA_TYPE_BY_SUFFIX.get(path[path.rfind(".") :].lower(), UNKNOWN_TYPE)


def choose_media_type(files: Sequence[VersionFile]) -> str:
    """The media type of a version: of its first table, else of its only file, else unknown."""
    if len(files) == 1:
        return files[0][2]
    tables = {kind for kind in {kind for _, _, kind in files} if is_table(kind)}
    return min(((path, kind) for path, _, kind in files if kind in tables), default=("", UNKNOWN_TYPE))[1]


def find_main_table(files: Iterable[VersionFile]) -> VersionFile | None:
    """The first table in the order of paths, which is what jobs take."""
    return min((file for file in files if is_table(file[2])), key=lambda file: file[0], default=None)


def format_csv_type(dialect: CsvDialect) -> str:
    """The media type of a CSV file, with what it takes to read it.

    It stands in the manifest, so the same bytes read in another way are another version.
    """
    parts = [CSV]
    if dialect.encoding != "utf-8":
        parts.append(f"charset={dialect.encoding}")
    if dialect.delimiter != ",":
        parts.append(f"delimiter={quote(dialect.delimiter, safe='')}")
    return "; ".join(parts)


def parse_dialect(media_type: str) -> CsvDialect | None:
    """How to read a file of this type as CSV, or None where it is not one."""
    kind, *rest = (part.strip() for part in media_type.split(";"))
    if kind != CSV:
        return None
    params = dict(part.split("=", 1) for part in rest if "=" in part)
    return CsvDialect(unquote(params.get("delimiter", ",")), params.get("charset", "utf-8").lower())


def get_table_path(kind: str) -> str:
    """What a table of this media type is called in a version of its own."""
    return dict(MEASURED_FORMATS.values()).get(kind, UPLOAD_PATH)


def is_table(media_type: str) -> bool:
    return media_type in TABLES or media_type in OTHER_TABLE_TYPES or parse_dialect(media_type) is not None


def detect_table_kind(head: bytes) -> str:
    """Detect the kind of table from the first 4 kB of a file; CSV if it is none of the others."""
    if head[:4] == b"PAR1":
        return PARQUET
    if head[:6] == b"ARROW1":
        return ARROW
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return JSON_LINES if begin[:1] == b"{" and begin[1:].lstrip()[:1] in (b'"', b"}", b"") else CSV


def is_table_of_parts(files: Sequence[VersionFile]) -> bool:
    """Whether these files can be the parts of one table, as their paths and media types say (table_parts.py)."""
    return len(files) > 1 and all(kind == PARQUET and is_part_path(path) for path, _, kind in files)


def check_kind(head: bytes, kind: str) -> None:
    """Raise Invalid for a file that does not begin as this one of the TABLES: jobs would read it as something else."""
    if detect_table_kind(head) != kind:
        raise Invalid(
            "The file does not begin as {names} does.",
            names=KIND_NAMES[kind],
            code="other_kind_of_table",
            field="file",
            limit=KIND_NAMES[kind],
            hint=Message(
                "It was taken for {names} by its name or its media type: correct that.", names=KIND_NAMES[kind]
            ),
        )
