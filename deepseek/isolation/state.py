"""What is applied on this machine: one file, written whole, and a lock that its watching process holds."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_

DEFAULT_FOLDER = Path("/var/lib/deepseek/isolation")

State = dict[str, Any]


class StateFolder:
    """The folder with `state.json`, `outcome.json` of the last change, and `lock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = folder / "revert-requested"  # asks the watching process to revert now

    def prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> State | None:
        """What is applied, or None."""
        return self._read("state.json")

    def write(self, state: State | None) -> None:
        """Replace the state; None: nothing is applied."""
        self._write("state.json", state)

    def read_outcome(self) -> State | None:
        return self._read("outcome.json")

    def write_outcome(self, outcome: State | None) -> None:
        self._write("outcome.json", outcome)

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Be the one process that changes rules. Raises EngineError ``isolation_busy`` where another is at it.

        Yields the descriptor: a process that inherits it holds the lock on.
        """
        with open(self.folder / "lock", "a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineError(
                    "isolation_busy",
                    N_("Rules are being applied on this machine by another process."),
                    field="--state",
                    value=str(self.folder),
                    hint=N_("Wait until it has confirmed or reverted them, a minute at most."),
                ) from None
            yield handle.fileno()

    def is_locked(self) -> bool:
        try:
            with self.lock():
                return False
        except EngineError:
            return True

    def _read(self, name: str) -> State | None:
        try:
            document = json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def _write(self, name: str, document: State | None) -> None:
        path = self.folder / name
        if document is None:
            with suppress(FileNotFoundError):
                path.unlink()
            return
        stage = path.with_suffix(".new")
        with open(stage, "w") as handle:
            json.dump(document, handle, indent=1)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(stage, path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
