"""Records predictions for whoever watches the model later: a share of them, in files of JSON lines.

A line is one row: id, at, model, version, variant, shadow, answer, features or features_digest, latency_ms. The digest
is of the row as little-endian float32 (a category is its code in the manifest), or of its JSON where it is text.
Requests only append to a list in memory; a thread writes. A file gets its final name, ``*.jsonl``, when it is complete:
whoever collects them takes those and removes them. What is left of a process that was killed is completed by the next.
"""

import fcntl
import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic_core import to_json

from deepseek.serve.handlers import Inputs
from deepseek.serve.loaded_model import LoadedModel, Prediction

Kept = Literal["features", "digest"]
MAX_WAITING, MAX_WAITING_BYTES = 5_000, 64 << 20
"""Requests in memory, and their bytes; what comes while so many wait for the disk is counted as dropped."""
MAX_ROWS_PER_REQUEST = 256
MAX_FEATURES_CHARACTERS = 65_536
"""Of one row as JSON; of a longer one only the digest is kept."""
MIN_CHARACTERS = 4
"""Of a number or a category in JSON, with its comma."""
SEGMENT_BYTES = 4 << 20
SEGMENT_SECONDS = 10.0
WRITE_SECONDS = 1.0
OPEN_SUFFIX, NEW_SUFFIX = ".part", ".new"
logger = logging.getLogger("deepseek.serve")
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,59}")


class _Recorded(NamedTuple):
    at: float
    key: str
    model: LoadedModel
    prediction: Prediction
    size: int
    milliseconds: float | None
    shadow: bool


class PredictionRecorder:
    """Records the share `rate` of all predictions into files in `folder`, of at most `limit_bytes` in all."""

    def __init__(
        self, folder: Path, rate: float = 1.0, *, keep: Kept = "features", limit_bytes: int = 256 << 20
    ) -> None:
        self.folder, self.rate, self.keep, self.limit_bytes = folder, rate, keep, limit_bytes
        self.recorded = self.dropped = 0
        """Rows that were written, and rows for which there was no room."""
        self._waiting: deque[_Recorded] = deque()
        self._added_bytes = self._taken_bytes = 0  # each counted by one thread
        self._prefix, self._numbers = secrets.token_hex(8), count()
        self._stopped = threading.Event()
        self._segment: Any = None
        self._opened_at = 0.0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        complete_segments(folder)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def choose_id(self, headers: Iterable[tuple[bytes, bytes]], rows: int, given: str | None = None) -> str | None:
        """The id of a request of so many rows, with its client's own behind it (X-Request-Id); None: no row of it is
        recorded. No two requests have one id: a client may send its own again."""
        value = given.encode() if given else next((value for name, value in headers if name == b"x-request-id"), b"")
        key = f"{self._prefix}{next(self._numbers):012x}"
        if _ID.fullmatch(value):
            key = f"{key}-{value.decode()}"
        return key if self.rate >= 1 or any(self._choose_rows(key, rows)) else None

    def _choose_rows(self, key: str, rows: int) -> Iterator[str]:
        """The ids of those of its rows that are recorded: each row by its own id, as the plane and its label choose."""
        for name in list_row_ids(key, rows)[:MAX_ROWS_PER_REQUEST]:
            if is_sampled(name, self.rate):
                yield name

    def add(
        self, key: str, model: LoadedModel, prediction: Prediction, seconds: float | None, shadow: bool = False
    ) -> None:
        """Record a request that was answered in so many seconds."""
        self.dropped += max(0, prediction.inputs.total - MAX_ROWS_PER_REQUEST)
        prediction = cut_prediction(prediction)
        size = count_bytes(prediction)
        if len(self._waiting) >= MAX_WAITING or self._added_bytes - self._taken_bytes + size > MAX_WAITING_BYTES:
            self.dropped += prediction.inputs.total
            return
        self._added_bytes += size
        milliseconds = None if seconds is None else seconds * 1e3
        self._waiting.append(_Recorded(time.time(), key, model, prediction, size, milliseconds, shadow))

    def close(self) -> None:
        """Write what waits."""
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopped.wait(WRITE_SECONDS):
            self._write()
        self._write()
        self._complete()

    def _write(self) -> None:
        try:
            while self._waiting:
                self._write_next()
        except OSError as error:
            self.dropped += sum(entry.prediction.inputs.total for entry in self._waiting)
            self._taken_bytes += sum(entry.size for entry in self._waiting)
            self._waiting.clear()
            logger.error("predictions are not recorded: %s", error)
        if self._segment and time.monotonic() - self._opened_at > SEGMENT_SECONDS:
            self._complete()

    def _write_next(self) -> None:
        """Write the longest waiting request. Raises OSError, once its rows are counted as dropped."""
        recorded = self._waiting.popleft()
        self._taken_bytes += recorded.size
        try:
            self._write_lines(list(self._build_lines(recorded)))
        except OSError:
            self.dropped += recorded.prediction.inputs.total
            raise
        except Exception:  # the next request may be fine, and this thread is the only one that records
            self.dropped += recorded.prediction.inputs.total
            logger.exception("a prediction of %s is not recorded", recorded.model.name)

    def _write_lines(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if self._segment is None:
            if sum(path.stat().st_size for path in self.folder.glob("*.jsonl")) >= self.limit_bytes:
                self.dropped += len(lines)
                return
            self._open()
        begin, rest = self._segment.tell(), memoryview(b"".join(lines))
        try:
            while rest:
                rest = rest[self._segment.write(rest) :]
        except OSError:
            with suppress(OSError):
                self._segment.truncate(begin)
            self._complete()
            raise
        self.recorded += len(lines)
        if self._segment.tell() >= SEGMENT_BYTES:
            self._complete()

    def _open(self) -> None:
        path = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl{OPEN_SUFFIX}"
        first = path.with_suffix(NEW_SUFFIX)  # until it is locked no other process may see a file to complete
        descriptor = os.open(first, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # until this process ends: no other one completes it
            first.rename(path)
        except OSError:
            os.close(descriptor)
            raise
        self._segment, self._opened_at = os.fdopen(descriptor, "wb", buffering=0), time.monotonic()
        self._segment_path = path

    def _complete(self) -> None:
        """Give the open file its final name; the next row opens another, whatever became of this one."""
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        try:
            with segment:
                self._segment_path.rename(self._segment_path.with_suffix(""))
        except OSError as error:
            logger.error("a file of predictions is lost: %s", error)

    def _build_lines(self, recorded: _Recorded) -> Iterator[bytes]:
        model, (inputs, outputs, _) = recorded.model, recorded.prediction
        answers = model.handler.list_answers(outputs)
        at = datetime.fromtimestamp(recorded.at, UTC).isoformat()
        for place, (name, answer) in enumerate(zip(list_row_ids(recorded.key, inputs.total), answers, strict=True)):
            if not is_sampled(name, self.rate):
                continue
            row = inputs if inputs.total == 1 else Inputs(inputs.rows[place : place + 1], 1, False)
            line = {
                "id": name,
                "at": at,
                "model": model.name,
                "version": int(model.version) if model.version.isdigit() else model.version,
                "variant": model.manifest.variant,
                "shadow": recorded.shadow,
                "answer": answer,
                **self._describe_features(model, row),
                "latency_ms": None if recorded.milliseconds is None else round(recorded.milliseconds, 4),
            }
            yield to_json(line) + b"\n"

    def _describe_features(self, model: LoadedModel, row: Inputs) -> dict[str, Any]:
        rows = row.rows
        if isinstance(rows, np.ndarray):
            features, data = None, rows.astype("<f4").tobytes()
            if self.keep == "features" and rows.size * MIN_CHARACTERS <= MAX_FEATURES_CHARACTERS:
                features = model.handler.list_features(row)[0]
        else:
            features = model.handler.list_features(row)[0]
            data = to_json(features)
        if features is not None and self.keep == "features" and len(to_json(features)) <= MAX_FEATURES_CHARACTERS:
            return {"features": features}
        return {"features_digest": hashlib.sha256(data).hexdigest()}


def list_row_ids(key: str, rows: int) -> list[str]:
    """The ids of the rows of one request."""
    return [key] if rows == 1 else [f"{key}-{place}" for place in range(rows)]


def cut_prediction(prediction: Prediction) -> Prediction:
    """What is recorded of it: without the body, and no more than the first rows."""
    inputs, outputs = prediction.inputs, prediction.outputs
    if inputs.total > MAX_ROWS_PER_REQUEST:
        rows, outputs = inputs.rows[:MAX_ROWS_PER_REQUEST], outputs[:MAX_ROWS_PER_REQUEST]
        if isinstance(outputs, np.ndarray):  # a part of an array would keep the whole
            rows, outputs = rows.copy(), outputs.copy()
        inputs = Inputs(rows, MAX_ROWS_PER_REQUEST, False)
    return Prediction(inputs, outputs, b"")


def count_bytes(value: Any) -> int:
    """About how much memory inputs and outputs take."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 100
    if isinstance(value, str | bytes):
        return len(value) + 50
    return sum(map(count_bytes, value)) + 50 if isinstance(value, list | tuple) else 50


def is_sampled(key: str, rate: float) -> bool:
    """Whether the id is in the share `rate`, by its SHA-256: the same for its label, and in every program."""
    return rate >= 1 or int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) < rate * 2**64


def complete_segments(folder: Path) -> None:
    """Give files of processes that ended before they could their final names, without a last line that is cut short."""
    for path in folder.glob(f"*.jsonl{OPEN_SUFFIX}"):
        try:
            with path.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                data = file.read()
                file.truncate(data.rfind(b"\n") + 1)
                path.rename(path.with_suffix(""))
        except OSError:
            continue  # its process still runs, or another one was faster
