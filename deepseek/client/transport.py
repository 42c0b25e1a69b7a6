"""HTTP to one plane: the token, timeouts, another try after a dropped connection, and errors in the plane's words.

The token is sent to the address of the plane alone: no redirect is followed, and no proxy is taken from the
environment unless the caller asks for it.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from deepseek.client.errors import ClientError, PlaneRefusal, PlaneUnreachable

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 75.0  # `wait` answers after 60
AWAY = (429, 502, 503, 504)  # statuses of a plane, or of a part of it, that is busy or restarts
PAGE_ROWS = 200
MAX_ERROR_BYTES = 1 << 20

Content = bytes | Callable[[], Iterable[bytes]]
"""A body: bytes, or a function that opens it, so that another try begins at its beginning."""


class PlaneTransport:
    """One plane. `patience`: seconds for which a request is repeated while the plane does not answer."""

    def __init__(self, url: str, token: str, *, ca: str = "", patience: float = 0.0, trust_env: bool = False) -> None:
        self.url, self.patience = url.rstrip("/"), patience
        headers = {"Accept": "application/json", "User-Agent": "deepseek-client"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            headers=headers,
            verify=build_tls_context(ca),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=trust_env,
        )

    def close(self) -> None:
        self._http.close()

    # -- requests ---------------------------------------------------------------------------------------------------
    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Any:
        """The answer as JSON, None where it is empty. `path` begins with `/`; `body` is sent as JSON."""
        answer = self.send(method, path, body, content=content, headers=headers, **query)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise self._build_foreign_error(answer) from None

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = False,
        **query: Any,
    ) -> httpx.Response:
        """The whole answer. A request is repeated, within the patience, where that cannot do anything twice: a read, a
        PUT, what has an Idempotency-Key, or what the caller calls repeatable."""
        sent = dict(headers or {})
        if body is not None:
            content = json.dumps(body, allow_nan=False).encode()
            sent.setdefault("Content-Type", "application/json")
        is_repeatable = is_repeatable or method in ("GET", "HEAD", "PUT") or "Idempotency-Key" in sent
        params = {name: str(value) for name, value in query.items() if value not in (None, "")}

        def request() -> httpx.Response:
            data = content() if callable(content) else content
            # An empty dictionary would take the query of the path away.
            return self._http.request(method, self.url + path, params=params or None, content=data, headers=sent)

        return self._check(self._repeat(request, is_repeatable))

    @contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, silence: float = ANSWER_SECONDS
    ) -> Iterator[httpx.Response]:
        """An answer that is read as it comes; PlaneUnreachable when it breaks off or says nothing for `silence` s."""
        timeout = httpx.Timeout(silence, connect=CONNECT_SECONDS)
        try:
            with self._http.stream("GET", self.url + path, headers=dict(headers or {}), timeout=timeout) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    self._check(answer)
                yield answer
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._build_unreachable(error) from None

    def iterate_rows(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """The rows of a list over all its pages; at most `limit` of them."""
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
            page = self.call("GET", path, limit=size, cursor=cursor, **query)
            yield from page["items"]
            cursor, left = page.get("next"), None if left is None else left - len(page["items"])
            if not cursor:
                return

    # -- answers ----------------------------------------------------------------------------------------------------
    def _repeat(self, request: Callable[[], httpx.Response], is_repeatable: bool) -> httpx.Response:
        deadline, pause, is_first = time.monotonic() + self.patience, 0.2, True
        while True:
            try:
                answer = request()
            except httpx.TransportError as error:
                was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if (was_sent and not is_repeatable) or _is_distrust(error):
                    raise self._build_unreachable(error) from None
                # An idle connection may be closed by the plane at the moment that it is used again.
                is_stale = is_first and isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) and was_sent
                if time.monotonic() >= deadline and not is_stale:
                    raise self._build_unreachable(error) from None
                is_first = False
            except httpx.InvalidURL as error:
                raise ClientError("bad_url", f"The address cannot be used: {error}.", field="URL") from None
            else:
                if answer.status_code not in AWAY or not is_repeatable or time.monotonic() >= deadline:
                    return answer
            time.sleep(pause)
            pause = min(pause * 1.5, 3.0)

    def _check(self, answer: httpx.Response) -> httpx.Response:
        """The answer, if it is one of success. Raises PlaneRefusal, or ClientError where no plane is there."""
        if answer.is_success:
            return answer
        if answer.is_redirect:
            raise ClientError(
                "redirected",
                f"{self.url} sends requests on to {answer.headers.get('Location', '')[:200]}; no token goes there.",
                field="URL",
                value=self.url,
                limit="the address at which the plane itself answers",
                hint="Log in with the address that a browser shows in the end, most often with https://.",
            )
        try:
            error = json.loads(answer.content[:MAX_ERROR_BYTES])["error"]
            refusal = PlaneRefusal.from_answer(answer.status_code, error)
        except (ValueError, KeyError, TypeError, AttributeError):
            if answer.status_code in AWAY or answer.status_code >= 500:
                detail = f" {answer.text[:200]}" if answer.content.startswith(b"{") else ""
                raise self._build_away_error(f"status {answer.status_code}{detail}", answer.status_code) from None
            raise self._build_foreign_error(answer) from None
        if answer.status_code in AWAY:
            away = self._build_away_error(f"{answer.status_code} {refusal.code}", answer.status_code)
            away.code, away.hint = refusal.code, refusal.hint or away.hint
            raise away
        if answer.status_code == 401:
            refusal.field, refusal.hint = "token", f"Log in again: deepseek login {self.url}"  # type: ignore[assignment]
        raise refusal

    def _build_foreign_error(self, answer: httpx.Response) -> PlaneRefusal:
        refusal = PlaneRefusal(
            "no_plane",
            f"{self.url} does not answer as a plane does.",
            field="URL",
            value=f"{self.url}, status {answer.status_code}, {answer.headers.get('Content-Type', 'no type')[:80]}",
            limit="the address of a plane",
            hint="Give the address at which the plane's pages open in a browser, without a path.",
        )
        refusal.status = answer.status_code
        return refusal

    def _build_unreachable(self, error: Exception) -> ClientError:
        if _is_distrust(error):
            return ClientError(
                "untrusted_certificate",
                f"The certificate of {self.url} is not trusted: {_shorten(error)}.",
                field="URL",
                value=self.url,
                limit="a certificate of an authority that this machine knows",
                hint="Give the site's own authority: --ca FILE or DEEPSEEK_CA.",
            )
        return self._build_away_error(_shorten(error))

    def _build_away_error(self, reason: str, status: int = 0) -> PlaneUnreachable:
        error = PlaneUnreachable(
            "plane_unreachable",
            f"The plane at {self.url} does not answer: {reason}.",
            field="URL",
            value=self.url,
            hint="Check the address, the network and that the plane runs, then try again.",
        )
        error.status = status
        return error


def build_tls_context(ca: str) -> ssl.SSLContext:
    """Trust the authorities of this machine, or those in the file `ca` alone. Raises ClientError ``bad_ca``."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as error:
        raise ClientError(
            "bad_ca",
            f"The certificates in {ca} cannot be read: {getattr(error, 'strerror', None) or error}.",
            field="--ca",
            value=ca,
            limit="a PEM file with the certificate of the site's authority",
            hint="Give another file: --ca FILE or DEEPSEEK_CA.",
        ) from None


def quote_part(text: str) -> str:
    """One part of a path, with everything escaped that would end it."""
    return quote(text, safe="")


def _is_distrust(error: Exception) -> bool:
    return isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _shorten(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200].rstrip(".")
