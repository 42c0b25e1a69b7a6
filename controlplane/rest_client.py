"""The client of deepseek.client in the words of the demo and the fault tests: any call, and waiting by looks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from deepseek.client.errors import ClientError, PlaneRefusal, PlaneUnreachable
from deepseek.client.transport import PlaneTransport

ENDED = ("succeeded", "failed", "cancelled")


class ApiError(Exception):
    """An answer of 400 or more, with the plane's own words."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {error.get('code')}: {error.get('message')} {error.get('hint') or ''}".strip())
        self.status, self.error = status, error

    @classmethod
    def from_refusal(cls, refusal: PlaneRefusal | PlaneUnreachable) -> ApiError:
        names = ("code", "message", "field", "limit", "hint")
        return cls(refusal.status, {name: getattr(refusal, name) for name in names})


class PlaneClient:
    """One plane, one project, one token. `patience`: seconds for which a plane that does not answer is asked again."""

    def __init__(self, address: str, token: str = "", project: str = "", *, patience: float = 0.0) -> None:
        self.address, self.token, self.project, self.patience = address.rstrip("/"), token, project, patience
        self._transport = PlaneTransport(self.address, token)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer as JSON. A `path` without "/api" is below the project; bytes are sent as they are."""
        text = self.fetch(path, body, method=method, headers=headers)
        return json.loads(text) if text else None

    def fetch(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the response body as bytes, for a file for instance."""
        where = path if path.startswith(("/api/", "/healthz", "/readyz")) else f"/api/v1/projects/{self.project}{path}"
        # Each call on a connection of its own: what is killed or counted in a test is not one that was kept.
        sent = {"Connection": "close", **(headers or {})}
        if isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
        content, document = (body, None) if isinstance(body, bytes) else (None, body)
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return self._transport.send(method, where, document, content=content, headers=sent).content
            except PlaneRefusal as refusal:
                raise ApiError.from_refusal(refusal) from None
            except PlaneUnreachable as failure:
                if failure.status:
                    raise ApiError.from_refusal(failure) from None
                if time.monotonic() > deadline:
                    raise ConnectionError(str(failure)) from None
                time.sleep(0.2)

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call(
            "POST", path, {} if body is None else body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def wait(
        self, job: int, *, seconds: float, watch: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Wait for a job to end, telling `watch` on the way; TimeoutError after `seconds`."""
        return self.wait_for(f"/jobs/{job}", seconds=seconds, watch=watch)

    def wait_for(
        self, path: str, *, seconds: float, watch: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Poll a job or a pipeline until it has ended; TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            state: dict[str, Any] = self.get(path)
            if watch:
                watch(state)
            if state["state"] in ENDED:
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} is still {state['state']} after {seconds:g} s")
            time.sleep(0.2)


def wait_until_ready(address: str, *, seconds: float) -> None:
    """Wait until every part of the plane says that it is ready; TimeoutError naming those that do not."""
    deadline = time.monotonic() + seconds
    plane = PlaneClient(address)
    missing = "no answer"
    while time.monotonic() < deadline:
        try:
            plane.get("/readyz")
            return
        except ApiError as answer:
            missing = str(answer.error)
        except (ClientError, ConnectionError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the plane at {address} is not ready after {seconds:g} s: {missing}")
