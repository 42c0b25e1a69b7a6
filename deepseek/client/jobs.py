"""One job of a plane: its state, its log, its outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.client.downloads import RemoteFile, fetch_files
from deepseek.client.errors import ClientError, JobNotSucceeded, PlaneUnreachable
from deepseek.client.events import PATIENCE_SECONDS, StreamEvent, follow_events

if TYPE_CHECKING:
    from deepseek.client.plane import Plane

ENDED = ("succeeded", "failed", "cancelled")
WAIT_SECONDS = 55
LOG_PAGE = 5000
CANCELLED_EXIT = 130
SCRIPT_FAILED = "script_failed"  # the error of a script that ended with an exit code of its own


@dataclass(frozen=True)
class LogLine:
    """`number` counts from 1; `at` is the plane's time as ISO 8601; `level`: debug, info, warning or error."""

    number: int
    at: str | None
    level: str
    text: str


class JobHandle:
    """A job of a plane. `data` is all that the plane told of it last (`GET .../jobs/ID`); `refresh` asks again."""

    def __init__(self, plane: Plane, data: dict[str, Any]) -> None:
        self.plane, self.data = plane, data

    def __repr__(self) -> str:
        return f"<JobHandle {self.id} {self.kind} {self.state}>"

    @property
    def id(self) -> int:
        return int(self.data["id"])

    @property
    def kind(self) -> str:
        return str(self.data["kind"])

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def state(self) -> str:
        """waiting, queued, running, succeeded, failed or cancelled."""
        return str(self.data["state"])

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it failed: code, message, field, limit, hint."""
        error: dict[str, Any] | None = self.data.get("error")
        return error

    @property
    def result(self) -> dict[str, Any]:
        """The summary that its run returned; empty until it has ended."""
        return dict(self.data.get("result") or {})

    @property
    def page(self) -> str:
        """The address of its page, for a browser."""
        return f"{self.plane.url}/p/{self.plane.project}/jobs/{self.id}"

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """What it made: slot, digest, size, name, media_type, meta."""
        return list(self.data.get("outputs") or [])

    @property
    def exit_code(self) -> int:
        """For a shell: 0 succeeded, 130 cancelled, else the script's own exit code, 1 where it has none."""
        if self.state == "succeeded":
            return 0
        return CANCELLED_EXIT if self.state == "cancelled" else read_exit_code(self.error or {})

    # -- time -------------------------------------------------------------------------------------------------------
    def refresh(self) -> JobHandle:
        self.data = self.plane.get(self._path)
        return self

    def wait(self, timeout: float | None = None, *, check: bool = False) -> JobHandle:
        """Wait until it has ended, over restarts of the plane. Returns itself.

        Raises TimeoutError after `timeout` seconds; with `check`, JobNotSucceeded if it failed or was cancelled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        heard = time.monotonic()
        while not self.has_ended:
            left = WAIT_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.id} is still {self.state} after {timeout:g} s")
            try:
                self.data = self.plane.get(f"{self._path}/wait", timeout=max(1, min(int(left), WAIT_SECONDS)))
                heard = time.monotonic()
            except PlaneUnreachable:
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise
                time.sleep(min(1.0, left))
        if check:
            self.raise_for_state()
        return self

    def raise_for_state(self) -> None:
        """Raise JobNotSucceeded unless it has succeeded."""
        if self.state != "succeeded":
            error = self.error or {}
            reason = f": {error['message']}" if error.get("message") else ""
            raise JobNotSucceeded(
                str(error.get("code") or f"job_{self.state}"),
                f"Job {self.id} is {self.state}{reason}",
                field="job",
                value=str(self.id),
                hint=str(error.get("hint") or f"Its page says more: {self.page}"),
            )

    def follow(self, after: int = 0) -> Iterator[StreamEvent]:
        """Its events as they come, behind number `after`, until it has ended: see deepseek.client.events."""
        for event in follow_events(self.plane.transport, self.plane.build_path(f"{self._path}/events"), after=after):
            if event.name == "end":
                self.refresh()
            yield event

    def log(self, after: int = 0) -> Iterator[LogLine]:
        """The lines of its log until now, behind line `after`."""
        while True:
            page = self.plane.get(f"{self._path}/log", after=after, limit=LOG_PAGE)
            for row in page["items"]:
                after = int(row["number"])
                yield LogLine(after, row["at"], row["level"], row["text"])
            if page["next"] is None:
                return

    def cancel(self, reason: str = "") -> JobHandle:
        """Cancel it: at once if it has not started, else its worker stops it within about a second."""
        self.data = self.plane.post(f"{self._path}/cancel", {"reason": reason})
        return self

    # -- outputs ----------------------------------------------------------------------------------------------------
    def download(self, slot: str, out: str | Path) -> Path:
        """Download one output into the folder `out`, verified; returns the file."""
        return self._download([self.find_output(slot)], Path(out))[0]

    def download_all(self, out: str | Path) -> list[Path]:
        """Download every output into the folder `out`."""
        return self._download(self.outputs, Path(out))

    def find_output(self, slot: str) -> dict[str, Any]:
        """The output of this slot. Raises ClientError ``output_unknown``, which names those that there are."""
        for output in self.outputs:
            if output["slot"] == slot:
                return output
        slots = ", ".join(str(output["slot"]) for output in self.outputs)
        raise ClientError(
            "output_unknown",
            f"Job {self.id} has no output {slot!r}.",
            field="OUTPUT",
            value=slot,
            limit=slots or f"none: the job is {self.state}",
            hint="Name one of these." if slots else "Wait until the job has succeeded.",
        )

    def _download(self, outputs: list[dict[str, Any]], out: Path) -> list[Path]:
        files = [RemoteFile(name_output(output), str(output["digest"]), int(output["size"])) for output in outputs]
        return fetch_files(self.plane.transport, self.plane.build_path("/artifacts"), files, out)

    @property
    def _path(self) -> str:
        return f"/jobs/{self.id}"


def name_output(output: dict[str, Any]) -> str:
    """The file of an output below a folder: its slot, where that is a file name already, else the name it was given."""
    slot, name = str(output["slot"]), str(output.get("name") or "")
    return slot if "." in slot.rpartition("/")[2] or "/" in slot or not name else name


def read_exit_code(error: dict[str, Any]) -> int:
    """The exit code of the script that failed; 1 where the job failed otherwise."""
    params = error.get("params")
    code = params.get("code") if error.get("code") == SCRIPT_FAILED and isinstance(params, dict) else None
    return code if isinstance(code, int) and 0 < code < 256 else 1
