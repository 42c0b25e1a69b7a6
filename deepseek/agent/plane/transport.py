"""HTTP to one plane, by the standard library: small answers as JSON, files as streams.

The token goes to the plane's own address alone: no redirect is followed and no proxy is taken from the environment.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deepseek.agent.errors import AgentError
from deepseek.client.errors import PlaneRefusal, PlaneUnreachable

CONNECT_SECONDS = 30.0
"""For a connection, and for each read."""
MAX_ANSWER_BYTES = 8 << 20
MAX_ERROR_BYTES = 64 << 10
AWAY = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses of a plane, or of a proxy before it, that may answer later."""
BASE = "/api/v1/agent"
RANGE = re.compile(r"bytes (\d{1,18})-")


@dataclass(frozen=True)
class Answer:
    """An answer below 300, or 304. `document` is empty where there is no body."""

    status: int
    document: dict[str, Any]
    etag: str = ""


class PlaneAway(PlaneUnreachable):
    """The plane gave no answer that counts. `retry_after`: seconds that it asked to wait for, 0 where it did not."""

    retry_after = 0.0


class PlaneConnection:
    """A plane. The connection is kept between requests until `close`, and is made anew when the plane has ended it."""

    def __init__(self, url: str, *, ca: str = "", agent: str = "deepseek-agent") -> None:
        parts = urlsplit(url)
        self.url, self._prefix = url, parts.path.rstrip("/") + BASE
        self._host, self._port = parts.hostname or "", parts.port
        self._context = build_tls_context(ca) if parts.scheme == "https" else None
        self._headers = {"User-Agent": agent, "Accept": "application/json"}
        self._connection: http.client.HTTPConnection | None = None
        self.token = ""
        self.answers = 0
        """Answers of success, and files that were read to the end of a slice."""

    def close(self) -> None:
        """End the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to one request. Raises PlaneAway or PlaneRefusal."""
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        answer = self._send(method, path, data, headers or {})
        with self.reading():
            content = answer.read(MAX_ANSWER_BYTES + 1)
        if answer.status == 304 or (200 <= answer.status < 300 and not content):
            self.answers += 1
            return Answer(answer.status, {}, answer.headers.get("ETag", ""))
        self._check(answer, content)
        self.answers += 1
        return Answer(answer.status, self._read_document(content), answer.headers.get("ETag", ""))

    @contextmanager
    def stream(self, path: str, *, begin: int = 0) -> Iterator[FileStream]:
        """A file from its byte `begin` on, where the plane does ranges. Raises PlaneAway and PlaneRefusal."""
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}
        answer = self._send("GET", path, None, headers)
        try:
            if answer.status not in (200, 206, 416):
                with self.reading():
                    content = answer.read(MAX_ERROR_BYTES)
                self._check(answer, content)
            yield FileStream(self, answer)
            self.answers += 1
        finally:
            if not answer.isclosed():  # what was not read would be taken for the next answer
                self.close()

    # -- one request --------------------------------------------------------------------------------------------------
    def _send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        sent = {**self._headers, **headers}
        if data is not None:
            sent["Content-Type"] = "application/json"
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        is_kept = self._connection is not None
        try:
            return self._exchange(method, path, data, sent)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, http.client.CannotSendRequest):
            self.close()
            if not is_kept:
                raise self._build_away("the connection was ended") from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._build_away(describe_error(error)) from None
        try:  # the plane had ended the connection that was kept; every request of the agent may come twice
            return self._exchange(method, path, data, sent)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._build_away(describe_error(error)) from None

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            if self._context is not None:
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=CONNECT_SECONDS, context=self._context
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        self._connection.request(method, self._prefix + path, body=data, headers=dict(headers))
        return self._connection.getresponse()

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._build_away(describe_error(error)) from None

    # -- answers ------------------------------------------------------------------------------------------------------
    def _check(self, answer: http.client.HTTPResponse, content: bytes) -> None:
        """Raise PlaneAway or PlaneRefusal for an answer that is not one of success."""
        status = answer.status
        if 200 <= status < 300 and len(content) <= MAX_ANSWER_BYTES:
            return
        if status in AWAY:
            away = self._build_away(f"status {status}")
            away.status, away.retry_after = status, read_retry_after(answer.headers.get("Retry-After", ""))
            raise away
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            raise PlaneRefusal.from_answer(status, json.loads(content[:MAX_ERROR_BYTES])["error"])
        raise self._build_away(f"{self.url} does not answer as a plane does (status {status})")

    def _read_document(self, content: bytes) -> dict[str, Any]:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._build_away(f"{self.url} does not answer as a plane does")
        return document

    def _build_away(self, reason: str) -> PlaneAway:
        return PlaneAway(
            "plane_unreachable",
            f"The plane does not answer: {reason}.",
            field="--plane",
            value=self.url,
            limit="the address of a plane that runs",
            hint="The agent goes on trying. Look whether the plane runs and the network leads to it.",
        )


class FileStream:
    """An answer with a file. `begin`: the place of its first byte, None where the plane cannot begin where asked."""

    def __init__(self, connection: PlaneConnection, answer: http.client.HTTPResponse) -> None:
        self._connection, self._answer = connection, answer
        span = RANGE.match(answer.headers.get("Content-Range", ""))
        self.begin = 0 if answer.status == 200 else int(span[1]) if answer.status == 206 and span else None

    def read(self, limit: int) -> bytes:
        """The next bytes, at least one. Raises PlaneAway where there are no more."""
        with self._connection.reading():
            data = self._answer.read1(limit)
            if not data:
                raise http.client.IncompleteRead(b"")
        return data


def build_tls_context(ca: str) -> ssl.SSLContext:
    """TLS 1.2 or later, by the authorities of this machine or by the site's own. Raises AgentError ``bad_ca``."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as error:
        raise AgentError(
            "bad_ca",
            f"The certificates in {ca} cannot be read: {getattr(error, 'strerror', None) or error}.",
            field="--ca",
            value=ca,
            limit="a PEM file with certificates",
            hint="Name the file with the certificate of the site's authority.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_retry_after(text: str) -> float:
    """Seconds of the header Retry-After; 0 where it names none. Dates are not read: the clock may be off."""
    return min(float(text), 86_400.0) if text.isascii() and text.isdigit() else 0.0


def describe_error(error: Exception) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); name the site's authority with --ca FILE"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
