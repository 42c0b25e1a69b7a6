"""A look into what a run has made, without taking it home: text, JSON, tables and pictures that are small enough."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from apps.actors import Actor
from apps.artifacts.services import Damaged, get_artifact, usable
from apps.artifacts.store import store
from apps.errors import NotFound
from apps.experiments.models import Run, RunArtifact

TEXT_LIMIT = 64 * 1024  # bytes that are shown
JSON_LIMIT = 256 * 1024  # bytes that are put into lines
PICTURE_LIMIT = 8 * 1024 * 1024
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
TEXTS = (".txt", ".md", ".csv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".log", ".py", ".html", ".svg", ".xml")


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a file: a picture by its address, or text; `cut`: there is more of it."""

    artifact: RunArtifact
    kind: str  # text | picture | none: too large, or nothing that people read
    text: str = ""
    cut: bool = False


def kind_of(one: RunArtifact) -> str:
    """What can be shown of it, by its type and size; its bytes are not asked."""
    media, path = one.media_type.partition(";")[0].strip().lower(), one.path.lower()
    if media in PICTURES and one.size <= PICTURE_LIMIT:
        return "picture"
    if media.startswith("text/") or media == "application/json" or path.endswith(TEXTS):
        return "text"
    return "none"


def preview_of(actor: Actor, run: Run, path: str) -> Preview:
    """The file at this path among the run's artifacts, or NotFound."""
    found = run.artifacts.filter(path=path[:500]).select_related("artifact").first() if "\x00" not in path else None
    if found is None:
        raise NotFound(f"Run {run.pk} has no artifact {path[:60]!r}.", field="preview", hint="Choose one of the list.")
    kind = kind_of(found)
    if kind != "text":
        return Preview(found, kind)
    artifact = usable(get_artifact(actor=actor, project=run.project, digest=found.artifact_id))
    whole = is_json(found) and found.size <= JSON_LIMIT
    try:
        data = b"".join(store().open(artifact.digest, 0, min(found.size, JSON_LIMIT if whole else TEXT_LIMIT)))
    except FileNotFoundError as error:
        raise Damaged(artifact.digest) from error
    return Preview(found, "text", *readable(data, found.size, lines=whole))


def is_json(one: RunArtifact) -> bool:
    return one.path.lower().endswith(".json") or one.media_type.startswith("application/json")


def readable(data: bytes, size: int, *, lines: bool) -> tuple[str, bool]:
    """(the text, whether it is cut); JSON put into lines, where it is whole. A byte that is no text is replaced."""
    text = data.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    if lines:
        with suppress(ValueError, RecursionError):  # as it was written, then
            text = beginning_of(json.loads(text))
    return text[:TEXT_LIMIT], len(data) < size or len(text) > TEXT_LIMIT


def beginning_of(value: Any) -> str:
    """A little more of the lines than is shown: deep inside, a letter of the file takes a line of white space."""
    parts, length = [], 0
    for part in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
        parts.append(part)
        length += len(part)
        if length > TEXT_LIMIT:
            break
    return "".join(parts)
