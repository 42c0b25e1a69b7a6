"""Servers of simulated devices: the handlers of `deepseek serve` in this process, with no child and no port.

A model is loaded once and answers for every device that runs it. All else of a device is real: its home folder, its
keys, its downloads, its checks and its receipts.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentFailure
from deepseek.agent.serving.servers import Recording
from deepseek.agent.updating.versions import InstalledVersion

Predict = Callable[[bytes], bytes]
"""From the body of POST /predict to the body of its answer."""
MAX_LOADED = 4


class ModelCache:
    """Models that are loaded, by the digest of their file: the newest few."""

    def __init__(self, load: Callable[[Path], Predict]) -> None:
        self._load, self._loaded = load, dict[str, Predict]()
        self._lock = threading.Lock()

    def get(self, version: InstalledVersion) -> Predict:
        digest = version.statement.model_file.sha256
        with self._lock:
            if digest not in self._loaded:
                while len(self._loaded) >= MAX_LOADED:
                    del self._loaded[next(iter(self._loaded))]
                self._loaded[digest] = self._load(version.folder)
            return self._loaded[digest]


def load_predict(folder: Path) -> Predict:
    """What `deepseek serve` does with the body of a request, for the model in `folder`."""
    from deepseek.serve.handlers import build_handler
    from deepseek.serve.loading import open_predictor

    handler = build_handler(open_predictor(folder), 4096)

    def predict(body: bytes) -> bytes:
        inputs = handler.read(body)
        return handler.encode(inputs, handler.predict(inputs.rows))

    return predict


class SimulatedServer:
    """A server of one version on one device, in this process. It answers at once and never dies by itself."""

    def __init__(
        self, version: InstalledVersion, predict: Predict, recorded: Path, recording: Recording | None = None
    ) -> None:
        self.version, self.recording = version, recording
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._predict, self._recorded = predict, recorded
        self._rows = 0
        self._ended = False

    def is_ready(self) -> bool:
        return not self._ended

    def has_ended(self) -> bool:
        return self._ended

    def is_alive(self) -> bool:
        return not self._ended

    def predict(self, rows: Sequence[Any]) -> list[Any]:
        try:
            answers = json.loads(self._predict(json.dumps({"features": list(rows)}).encode()))["prediction"]
        except Exception as error:  # noqa: BLE001  whatever it is, this version does not answer
            raise AgentFailure("server_failed", f"The server does not answer: {error}", field="server") from None
        self._rows += len(rows)
        return list(answers)

    def read_metrics(self) -> Mapping[str, float]:
        return {"rows_total": float(self._rows)}

    def describe_end(self) -> str:
        return "it was stopped"

    def stop(self) -> None:
        self._ended = True

    def record(self, rows: Sequence[Any], answers: Sequence[Any]) -> list[str | None]:
        """Write predictions as `deepseek serve --record` does, by the share that the plane wants.

        Returns the id of each row, None of one that is not recorded.
        """
        if self.recording is None or self.recording.rate <= 0:
            return [None] * len(rows)
        statement, at = self.version.statement, datetime.now(UTC)
        lines, keys = [], list[str | None]()
        for features, answer in zip(rows, answers, strict=True):
            key = secrets.token_hex(12)
            if int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) >= self.recording.rate * 2**64:
                keys.append(None)
                continue
            keys.append(key)
            row = {"id": key, "at": at.isoformat(), "model": statement.model, "version": statement.version}
            row |= {"variant": statement.variant, "features": features, "answer": answer, "latency_ms": None}
            lines.append(json.dumps(row))
        write_lines(self._recorded, lines, at)
        return keys


def write_lines(folder: Path, lines: Sequence[str], at: datetime) -> None:
    """Hand JSON lines over to the agent, as one file."""
    if lines:
        name = f"{int(at.timestamp() * 1e9):020d}-{secrets.token_hex(4)}.jsonl"
        staged = folder / f"{name}.part"
        staged.write_text("\n".join(lines) + "\n")
        staged.rename(folder / name)


class SimulatedFactory:
    """Starts the servers of one simulated device."""

    def __init__(self, recorded: Path, cache: ModelCache) -> None:
        self._recorded, self._cache = recorded, cache

    def start_candidate(self, version: InstalledVersion) -> SimulatedServer:
        return self.start(version, None)

    def start(self, version: InstalledVersion, recording: Recording | None) -> SimulatedServer:
        try:
            predict = self._cache.get(version)
        except Exception as error:  # noqa: BLE001  the server would end
            raise AgentFailure("server_failed", f"The model cannot be loaded: {error}", field="server") from None
        return SimulatedServer(version, predict, self._recorded, recording)

    def close(self) -> None:
        """It has no address."""
