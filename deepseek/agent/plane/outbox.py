"""What the plane has not got yet: a file for each message, in the order in which they are sent.

The folder may be carried to the plane by hand: each file holds the address and the body of one request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepseek.agent.log import JsonLog, Level
from deepseek.agent.plane.transport import PlaneConnection
from deepseek.agent.storage.disk import read_json
from deepseek.agent.storage.home import Home
from deepseek.client.errors import PlaneRefusal

MAX_STATUSES = 500
"""Statuses that wait; the oldest go first."""
MAX_RECEIPTS = 100
"""Receipts that wait: so many versions without any connection. The oldest go first."""
EXPECTED_REFUSALS = {"assignment_closed", "receipt_replayed"}
"""The plane has it already, or has decided otherwise: nothing is wrong with the device."""
STOPPING_STATUSES = (401, 403)
"""Of a plane that takes nothing from this device now: what waits goes on waiting."""
RECEIPT, STATUS = "receipt", "status"


class Outbox:
    """The messages of one device."""

    def __init__(self, home: Home, log: JsonLog) -> None:
        self._home, self._log = home, log
        self._next = max((int(path.name.split("-")[0]) for path in self._list()), default=0) + 1

    def __len__(self) -> int:
        return len(self._list())

    def add_receipt(self, envelope: dict[str, Any]) -> None:
        self._add(RECEIPT, "/receipts", {"envelope": envelope})
        self._drop_oldest(RECEIPT, MAX_RECEIPTS)

    def add_status(
        self, assignment: str, step: str, *, message: str = "", code: str = "", progress: float | None = None
    ) -> None:
        """Tell how far an assignment is. Of the progress of a download only the newest waits."""
        path = f"/assignments/{assignment}/status"
        body: dict[str, Any] = {"step": step, "message": message[:2000], "code": code}
        if progress is not None:
            body["progress"] = round(progress, 3)
            for waiting in self._list(STATUS):
                document = read_json(waiting) or {}
                if document.get("path") == path and document.get("body", {}).get("step") == step:
                    waiting.unlink(missing_ok=True)
        self._add(STATUS, path, body)
        self._drop_oldest(STATUS, MAX_STATUSES)

    def send(self, connection: PlaneConnection) -> int:
        """Send what waits, in order, and return how many messages the plane has taken.

        Raises PlaneAway, or PlaneRefusal where the plane takes nothing from this device; the rest goes on waiting.
        """
        count = 0
        for path in self._list():
            message = read_json(path)
            if message is None:
                continue
            try:
                connection.request("POST", str(message["path"]), message["body"])
            except PlaneRefusal as refusal:
                if refusal.status in STOPPING_STATUSES:
                    raise
                level: Level = "info" if refusal.code in EXPECTED_REFUSALS else "error"
                self._log.write("message_refused", level, path=str(message["path"]), code=refusal.code)
            else:
                count += 1
            self._home.disk.remove(path)
        return count

    def _add(self, kind: str, path: str, body: dict[str, Any]) -> None:
        target = self._home.outbox / f"{self._next:016d}-{kind}.json"
        self._next += 1
        self._home.disk.write(target, json.dumps({"path": path, "body": body}).encode())

    def _list(self, kind: str = "*") -> list[Path]:
        return sorted(self._home.outbox.glob(f"[0-9]*-{kind}.json"))

    def _drop_oldest(self, kind: str, most: int) -> None:
        for path in self._list(kind)[:-most]:
            self._home.disk.remove(path)
            self._log.write("message_dropped", "warning", file=path.name)
