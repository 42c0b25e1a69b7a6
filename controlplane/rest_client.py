"""A small REST client on the standard library, used by the demo and the fault tests."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

ENDED = ("succeeded", "failed", "cancelled")


class ApiError(Exception):
    """An answer of 400 or more, with the plane's own words."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {error.get('code')}: {error.get('message')} {error.get('hint') or ''}".strip())
        self.status, self.error = status, error


class PlaneClient:
    """One plane, one project, one token. `patience`: seconds for which a plane that does not answer is asked again."""

    def __init__(self, address: str, token: str = "", project: str = "", *, patience: float = 0.0) -> None:
        self.address, self.token, self.project, self.patience = address.rstrip("/"), token, project, patience

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 70.0,
    ) -> Any:
        """The answer as JSON. A `path` without "/api" is below the project; bytes are sent as they are."""
        text = self.fetch(path, body, method=method, headers=headers, timeout=timeout)
        return json.loads(text) if text else None

    def fetch(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        timeout: float = 70.0,
    ) -> bytes:
        """Return the response body as bytes, for a file for instance."""
        where = path if path.startswith(("/api/", "/healthz", "/readyz")) else f"/api/v1/projects/{self.project}{path}"
        sent = {"Accept": "application/json", **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        deadline = time.monotonic() + self.patience
        while True:
            request = urllib.request.Request(self.address + where, data=data, headers=sent, method=method)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - the plane's own address
                    return bytes(answer.read())
            except urllib.error.HTTPError as failure:
                raise ApiError(failure.code, parse_error(failure.read())) from None
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path + (f"?{urllib.parse.urlencode(query)}" if query else ""))

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


def parse_error(text: bytes) -> Mapping[str, Any]:
    try:
        error: Mapping[str, Any] = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        error = {"code": "unreadable", "message": text[:200].decode(errors="replace")}
    return error


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
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"the plane at {address} is not ready after {seconds:g} s: {missing}")
