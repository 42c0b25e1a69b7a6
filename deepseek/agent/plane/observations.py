"""Sends the predictions that the server recorded, and their labels, in batches that may come twice.

The plane counts a row once however often it comes, so a file is removed only after all of it was taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deepseek.agent.log import JsonLog
from deepseek.agent.plane.transport import PlaneConnection
from deepseek.agent.serving.server_client import CHECK_ID
from deepseek.client.errors import PlaneRefusal

MAX_ROWS, MAX_BYTES = 1000, 1 << 20
"""Of one request."""
MAX_FILES = 4
"""Of one turn: the agent has other work."""
MAX_LABEL_FILES = 500
"""Of labels, of one turn: they are small, and go together."""
MAX_WAITING_FILES = 64
"""Recorded files that wait while the plane is away; the oldest go first."""
LEAST_OFFSET_SECONDS = 60.0
"""A clock that is off by less is taken as it is."""
REFUSED_SUFFIX = ".refused"


def send_predictions(
    connection: PlaneConnection, folder: Path, log: JsonLog, *, models: Mapping[str, str], offset: float
) -> int:
    """Send complete files of `folder`, the oldest first, and return how many rows were sent.

    `models`: name of a model in its server -> in the plane. `offset`: seconds that this machine's clock is ahead of the
    plane's; it is taken off. A file that the plane refuses is put aside, the newest such one is kept. Raises PlaneAway,
    or PlaneRefusal where the plane takes nothing from this device.
    """
    sent = 0
    for path in sorted(folder.glob("*.jsonl"))[:MAX_FILES]:
        rows = [row for line in path.read_bytes().splitlines() if (row := read_row(line, models, offset)) is not None]
        try:
            for batch in split_rows(rows):
                connection.request("POST", "/observations/predictions", {"rows": batch})
        except PlaneRefusal as refusal:
            if refusal.status in (401, 403):
                raise
            log.write("predictions_refused", "error", code=refusal.code, reason=str(refusal.message))
            set_aside(path)
        else:
            path.unlink(missing_ok=True)
            sent += len(rows)
    return sent


def send_labels(connection: PlaneConnection, folder: Path, log: JsonLog, *, offset: float) -> int:
    """Send the labels of `folder`, the oldest first, and return how many were sent. Many files go in one request.

    None is dropped for its age: the server takes no more where too many wait. A file that the plane refuses is put
    aside. Raises as `send_predictions`.
    """
    sent = 0
    rows: list[dict[str, Any]] = []
    paths: list[Path] = []
    for path in sorted(folder.glob("*.jsonl"))[:MAX_LABEL_FILES]:
        more = [row for line in path.read_bytes().splitlines() if (row := read_label(line, offset)) is not None]
        if paths and len(rows) + len(more) > MAX_ROWS:
            sent += send_label_files(connection, paths, rows, log, offset)
            rows, paths = [], []
        rows, paths = rows + more, [*paths, path]
    return sent + (send_label_files(connection, paths, rows, log, offset) if paths else 0)


def send_label_files(
    connection: PlaneConnection, paths: list[Path], rows: list[dict[str, Any]], log: JsonLog, offset: float
) -> int:
    """Send the rows of some files and remove these; where the plane refuses them together, each by itself."""
    try:
        for batch in split_rows(rows):
            connection.request("POST", "/observations/labels", {"rows": batch})
    except PlaneRefusal as refusal:
        if refusal.status in (401, 403):
            raise
        if len(paths) > 1:
            lines = {path: path.read_bytes().splitlines() for path in paths}
            own = {path: [row for line in lines[path] if (row := read_label(line, offset))] for path in paths}
            return sum(send_label_files(connection, [path], own[path], log, offset) for path in paths)
        log.write("labels_refused", "error", code=refusal.code, reason=str(refusal.message))
        set_aside(paths[0])
        return 0
    for path in paths:
        path.unlink(missing_ok=True)
    return len(rows)


def set_aside(path: Path) -> None:
    """Keep what the plane refused for people: the newest such file of its folder."""
    for former in path.parent.glob(f"*{REFUSED_SUFFIX}"):
        former.unlink(missing_ok=True)
    path.rename(path.with_suffix(REFUSED_SUFFIX))


def drop_oldest(folder: Path, log: JsonLog) -> None:
    """Keep the newest recorded files, so that a device without a plane does not fill its disk."""
    for path in sorted(folder.glob("*.jsonl"))[:-MAX_WAITING_FILES]:
        path.unlink(missing_ok=True)
        log.write("predictions_dropped", "warning", file=path.name)


def read_row(line: bytes, models: Mapping[str, str], offset: float) -> dict[str, Any] | None:
    """A recorded row as the plane takes it; None for a line that is none, and for the agent's own samples."""
    try:
        row = json.loads(line)
        if CHECK_ID in row["id"]:
            return None
        row["model"] = models.get(row["model"], row["model"])
        correct_time(row, offset)
    except (ValueError, KeyError, TypeError):
        return None
    return row if isinstance(row, dict) else None


def read_label(line: bytes, offset: float) -> dict[str, Any] | None:
    """A label as the plane takes it; None for a line that is none."""
    try:
        row: dict[str, Any] = json.loads(line)
        correct_time(row, offset)
    except (ValueError, KeyError, TypeError):
        return None
    return row


def correct_time(row: dict[str, Any], offset: float) -> None:
    """Take off the row's time what this machine's clock is ahead."""
    if abs(offset) >= LEAST_OFFSET_SECONDS:
        with suppress(ValueError, OverflowError):
            row["at"] = (datetime.fromisoformat(row["at"]) - timedelta(seconds=offset)).isoformat()


def split_rows(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Batches of rows that the plane takes in one request."""
    batches: list[list[dict[str, Any]]] = []
    size = 0
    for row in rows:
        length = len(json.dumps(row))
        if not batches or len(batches[-1]) >= MAX_ROWS or size + length > MAX_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(row)
        size += length
    return batches
