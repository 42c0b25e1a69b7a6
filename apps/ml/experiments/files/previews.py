"""Previews of the files of runs and logged models: text, JSON, tables and images, up to a size limit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.lists.pages import is_storable
from apps.ml.experiments.files.tree import PATH_LENGTH, FileRow, Owner, find_file
from apps.platform.artifacts.services import get_artifact, require_undamaged
from apps.platform.artifacts.verification import read_verified
from deepseek.messages import N_

TEXT_LIMIT = 64 * 1024  # bytes that are shown
JSON_LIMIT = 256 * 1024  # bytes that are put into lines
PICTURE_LIMIT = 8 * 1024 * 1024
ROWS_SHOWN, COLUMNS_SHOWN, CELL_LIMIT = 100, 30, 200  # of a table; the last in characters
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
TEXTS = (
    ".txt",
    ".md",
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".yaml",
    ".yml",
    ".toml",
    ".log",
    ".py",
    ".html",
    ".svg",
    ".xml",
)


@dataclass(frozen=True, slots=True)
class FilePreview:
    """What is shown of a file: a picture by its address, a table, or text; `cut`: there is more of it."""

    artifact: FileRow
    kind: str  # text | table | picture | none: too large, or nothing that people read
    text: str = ""
    cut: bool = False
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def get_preview_kind(file: FileRow) -> str:
    """Return the kind of preview by media type and size, without reading the bytes."""
    media, path = file.media_type.partition(";")[0].strip().lower(), file.path.lower()
    if media in PICTURES and file.size <= PICTURE_LIMIT:
        return "picture"
    if media.startswith("text/") or media == "application/json" or path.endswith(TEXTS):
        return "text"
    return "none"


def build_preview(actor: Actor, owner: Owner, path: str) -> FilePreview:
    """The file at this path among the artifacts of a run or a logged model, or NotFound."""
    file = find_file(owner, path) if len(path) <= PATH_LENGTH and is_storable(path) else None
    if file is None:
        raise NotFound(
            "No artifact {path!r} is here.", path=path[:60], field="preview", hint=N_("Choose one of the list.")
        )
    kind = get_preview_kind(file)
    if kind != "text":
        return FilePreview(file, kind)
    artifact = require_undamaged(get_artifact(actor=actor, project=owner.project, digest=file.artifact_id))
    is_full_json = is_json(file) and file.size <= JSON_LIMIT
    data = read_verified(artifact, 0, min(file.size, JSON_LIMIT if is_full_json else TEXT_LIMIT))
    table = parse_table(data, file, cut=len(data) < file.size)
    if table is not None:
        return table
    return FilePreview(file, "text", *decode_text(data, file.size, lines=is_full_json))


# -- tables ---------------------------------------------------------------------------------------------------------
DELIMITED = {".csv": ",", ".tsv": "\t"}


def parse_table(data: bytes, file: FileRow, *, cut: bool) -> FilePreview | None:
    """The first rows and columns of a file of rows, or of a table that MLflow's client logged; None for others."""
    delimiter = DELIMITED.get(PurePosixPath(file.path.lower()).suffix)
    if delimiter is None:
        return parse_logged_table(data, file) if is_json(file) and not cut else None
    text = data.decode("utf-8-sig", errors="replace").replace("\x00", "\ufffd")
    if cut:
        text = text[: text.rfind("\n") + 1]  # its last line may be half of one
    try:
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ROWS_SHOWN + 2))
    except csv.Error:  # shown as it was written, then
        return None
    return build_table_preview(file, rows[0], rows[1:], cut=cut) if len(rows) > 1 and len(rows[0]) > 1 else None


def parse_logged_table(data: bytes, file: FileRow) -> FilePreview | None:
    """What `mlflow.log_table` writes: {"columns": [...], "data": [[...], ...]}."""
    with suppress(ValueError, RecursionError):
        value = json.loads(data)
        if isinstance(value, dict) and set(value) == {"columns", "data"} and isinstance(value["columns"], list):
            rows = value["data"]
            if isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows):
                return build_table_preview(file, value["columns"], rows, cut=False)
    return None


def build_table_preview(file: FileRow, head: Sequence[Any], rows: Sequence[Sequence[Any]], *, cut: bool) -> FilePreview:
    more = cut or len(rows) > ROWS_SHOWN or len(head) > COLUMNS_SHOWN
    cells = [[format_cell(cell) for cell in row[:COLUMNS_SHOWN]] for row in rows[:ROWS_SHOWN]]
    return FilePreview(file, "table", cut=more, head=[format_cell(name) for name in head[:COLUMNS_SHOWN]], rows=cells)


def format_cell(cell: Any) -> str:
    text = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
    return text[:CELL_LIMIT].replace("\x00", "\ufffd")


# -- text -----------------------------------------------------------------------------------------------------------


def is_json(file: FileRow) -> bool:
    return file.path.lower().endswith(".json") or file.media_type.startswith("application/json")


def decode_text(data: bytes, size: int, *, lines: bool) -> tuple[str, bool]:
    """(the text, whether it is cut); JSON put into lines, where it is whole. A byte that is no text is replaced."""
    text = data.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    if lines:
        with suppress(ValueError, RecursionError):  # as it was written, then
            text = render_json_start(json.loads(text))
    return text[:TEXT_LIMIT], len(data) < size or len(text) > TEXT_LIMIT


def render_json_start(value: Any) -> str:
    """A little more of the lines than is shown: deep inside, a letter of the file takes a line of white space."""
    parts, length = [], 0
    for part in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
        parts.append(part)
        length += len(part)
        if length > TEXT_LIMIT:
            break
    return "".join(parts)
