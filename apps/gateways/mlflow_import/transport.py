"""Requests to an MLflow server as its own client makes them: JSON, a token or a name and password, patient retries.

The standard library alone. No redirect is followed: the secret would go wherever it leads. It never shows in a message.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from apps.core.errors import Invalid, Unavailable
from apps.gateways.mlflow_import.source_records import Unreadable

MAX_REQUEST_TRIES = 6
FIRST_PAUSE_SECONDS = 0.5  # doubled with each try
MAX_PAUSE_SECONDS = 60.0  # also of Retry-After
TIMEOUT_SECONDS = 120.0  # seconds without a byte
CHUNK = 1 << 20
MAX_ANSWER_BYTES = 256 * 2**20  # bytes of one JSON answer
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
CONNECTION_ERRORS = (URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


class InterruptedDownload(Unreadable):
    """A file came in part; it may be asked for again."""


class UnknownObject(Unreadable):
    """The server does not know the address or the object."""


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """As MLflow's client has it: a name with a password wins over a token."""

    username: str = ""
    password: str = ""
    token: str = ""
    certificates: str = ""  # file of the authorities that the server's certificate is checked by

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerLogin:
        return cls(
            environment.get("MLFLOW_TRACKING_USERNAME", ""),
            environment.get("MLFLOW_TRACKING_PASSWORD", ""),
            environment.get("MLFLOW_TRACKING_TOKEN", ""),
            environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH", ""),
        )

    @property
    def headers(self) -> dict[str, str]:
        if self.username and self.password:
            pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


class NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


class Transport:
    """`sleep` is for tests. Raises Unavailable once a request has failed TRIES times, Invalid for a refused log-in."""

    def __init__(self, address: str, login: ServerLogin, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(address)
        if parts.username or parts.password or not parts.hostname or parts.query or parts.fragment:
            raise Invalid(
                "The address holds a name, a password, a query or no host.",
                field="SOURCE",
                limit="http(s)://host[:port][/path]",
                hint="Give the log-in by MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD.",
            )
        self.base, self.login, self.sleep = address.rstrip("/"), login, sleep
        try:
            context = ssl.create_default_context(cafile=login.certificates or None)
        except OSError as error:
            raise Invalid(
                f"The certificates cannot be read: {error}.", field="MLFLOW_TRACKING_SERVER_CERT_PATH"
            ) from None
        self.opener = build_opener(NoRedirects, HTTPSHandler(context=context))

    def fetch_json(self, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> dict[str, Any]:
        """The answer to a GET, or to a POST of `body`."""

        def send() -> dict[str, Any]:
            with self.open(path, query, body) as answer:
                text = answer.read(MAX_ANSWER_BYTES + 1)
                if len(text) <= MAX_ANSWER_BYTES and answer.length:  # read(n) says nothing of a connection that was cut
                    raise http.client.IncompleteRead(b"", answer.length)
            if len(text) > MAX_ANSWER_BYTES:
                raise Unreadable(f"the answer of {path} is larger than {MAX_ANSWER_BYTES} bytes")
            try:
                value = json.loads(text)
            except ValueError:
                raise Unreadable(f"the answer of {path} is no JSON") from None
            if not isinstance(value, dict):
                raise Unreadable(f"the answer of {path} is no object")
            return value

        answer: dict[str, Any] = self.retry_while_unavailable(send)
        return answer

    def iter_bytes(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """The bytes of a file; Interrupted where the connection ends before they do."""
        answer = self.retry_while_unavailable(lambda: self.open(path, query))
        with answer:
            try:
                while chunk := answer.read(CHUNK):
                    yield chunk
                if answer.length:  # read(n) says nothing of it
                    raise http.client.IncompleteRead(b"", answer.length)
            except CONNECTION_ERRORS as error:
                raise InterruptedDownload(f"the connection was cut: {type(error).__name__}") from None

    def open(self, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        address = f"{self.base}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Accept": "*/*", **self.login.headers}
        if data is not None:
            headers["Content-Type"] = "application/json"
        return self.opener.open(Request(address, data=data, headers=headers), timeout=TIMEOUT_SECONDS)  # noqa: S310 - checked

    def retry_while_unavailable(self, send: Callable[[], Any]) -> Any:
        """Return what `send` returns; retry while the server is busy or the connection breaks."""
        reason = ""
        for number in range(MAX_REQUEST_TRIES):
            pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number)
            try:
                return send()
            except HTTPError as error:
                with error:
                    if error.code not in RETRIED_STATUSES:
                        raise build_refusal(error) from None
                    reason, pause = f"it answers {error.code}", get_pause(error, pause)
            except CONNECTION_ERRORS as error:
                reason = str(getattr(error, "reason", "") or error or type(error).__name__)
            if number < MAX_REQUEST_TRIES - 1:
                self.sleep(pause)
        raise Unavailable(
            f"{self.base} cannot be reached: {reason}.",
            field="SOURCE",
            limit=f"{MAX_REQUEST_TRIES} tries",
            hint="Run the import again once it can: it goes on from what is here.",
        )


def get_pause(error: HTTPError, pause: float) -> float:
    retry_after = error.headers.get("Retry-After", "")
    return min(MAX_PAUSE_SECONDS, float(retry_after)) if retry_after.isdecimal() else pause


def build_refusal(error: HTTPError) -> Exception:
    """What an answer that is no success means."""
    if error.code in (401, 403):
        return Invalid(
            f"The server refuses the log-in ({error.code}).",
            code="source_refused",
            field="SOURCE",
            hint="Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    try:
        answer = json.loads(error.read(10_000))
        message = f"{answer['error_code']}: {answer['message']}"[:300]
    except (ValueError, KeyError, TypeError, *CONNECTION_ERRORS):
        message = "no reason told"
    return (UnknownObject if error.code == 404 else Unreadable)(f"the server answers {error.code}, {message}")
