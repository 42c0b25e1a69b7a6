"""Reads the body of a request: bounded, whether its length was announced or not, whether it is compressed or not."""

import asyncio
import zlib
from collections.abc import Iterable
from typing import NoReturn

from deepseek.job import EngineError
from deepseek.serve.responses import Message, Receive, Refused

DRAIN_BYTES = 256 << 20
"""A body above the limit is read on to its end, and forgotten, as long as it stays below this: most clients write all
of it before they read, and would see a broken connection instead of the answer."""
SMALL_BYTES = 16 << 10
"""A body of no more is not counted among what the service holds."""

INLINE_BYTES = 256 << 10
"""No more is decompressed in the event loop: it takes longer than going to a thread."""
MAX_RATIO = 1032
"""No byte of deflate becomes more (RFC 1951: 258 bytes of 2 bits)."""
ROOM_BYTES = 64 << 10
"""What a body of the Open Inference Protocol may have beside its values: names, shapes and parameters."""


class BodyBudget:
    """How many bytes of large bodies the service holds, of those that it may hold."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def take(self, size: int) -> None:
        """Count `size` more bytes. Raises Refused ``overloaded``."""
        if self.held + size > self.limit:
            raise Refused(build_overloaded_error("bytes of bodies", self.limit), retry_after=1)
        self.held += size


class BodyReader:
    """Reads the bodies of one service; `held` of each has to be given back once its request was answered."""

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget

    async def read(self, receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: int) -> tuple[bytes, int]:
        """The body, decompressed, of at most `limit` bytes, and what is held for it. Raises Refused."""
        encoding = b""
        for name, value in headers:
            if name == b"content-encoding":
                encoding = value.strip().lower()
            elif name == b"content-length" and len(value) > 7:
                _check_announced(value, headers, limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(build_cut_off_error())
        body: bytes = message.get("body", b"")
        if len(body) <= SMALL_BYTES and not message.get("more_body") and not encoding:
            return (body, 0) if len(body) <= limit else _refuse_too_large(limit)
        return await self._read_large(receive, message, encoding, limit)

    async def _read_large(self, receive: Receive, message: Message, encoding: bytes, limit: int) -> tuple[bytes, int]:
        body, size, current = bytearray(), 0, 0
        try:
            while True:
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size <= limit:
                    self.budget.take(len(chunk))
                    current += len(chunk)
                    body += chunk
                elif size > DRAIN_BYTES:
                    break
                if not message.get("more_body"):
                    break
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(build_cut_off_error())
            if size > limit:
                _refuse_too_large(limit)
            if not encoding or encoding == b"identity":
                return bytes(body), current
            reserved = min(limit, len(body) * MAX_RATIO + SMALL_BYTES)
            self.budget.take(reserved)
            current += reserved
            if reserved <= INLINE_BYTES:
                decompressed = decompress(bytes(body), encoding, limit)
            else:
                loop = asyncio.get_running_loop()
                decompressed = await loop.run_in_executor(None, decompress, bytes(body), encoding, limit)
            self.budget.held -= reserved - len(decompressed)
            current -= reserved - len(decompressed)
        except BaseException:
            self.budget.held -= current
            raise
        return decompressed, current


def _check_announced(value: bytes, headers: Iterable[tuple[bytes, bytes]], limit: int) -> None:
    """Refuse a body that is announced as too large, where its client waits for that, or would not stop."""
    size = int(value) if value.isdigit() else 0
    if size > limit and (size > DRAIN_BYTES or any(name == b"expect" for name, _ in headers)):
        _refuse_too_large(limit)


def _refuse_too_large(limit: int) -> NoReturn:
    raise Refused(build_too_large_error(limit))


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """`body` without its compression, of at most `limit` bytes. Raises Refused."""
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise Refused(
            EngineError(
                "encoding_unknown",
                "The body is compressed in a way that is not known here.",
                field="Content-Encoding",
                limit="gzip, deflate",
                hint="Send it as it is, or compress it with gzip.",
            )
        )
    # 47: zlib tells gzip from zlib by the head. Some clients send deflate without any head.
    for window in (47, -15) if encoding == b"deflate" else (47,):
        decoder = zlib.decompressobj(window)
        try:
            decompressed = decoder.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(decompressed) > limit:
            raise Refused(build_too_large_error(limit))
        if decoder.eof and not decoder.unused_data:
            return decompressed
    raise Refused(
        EngineError(
            "malformed_body",
            "The body is not what its Content-Encoding says, or it is cut short.",
            field="Content-Encoding",
            limit="gzip, deflate",
            hint="Compress the whole body in one piece.",
        )
    )


def build_too_large_error(limit: int) -> EngineError:
    """The error for a body above the limit."""
    return EngineError(
        "too_large",
        f"The body is larger than {limit} bytes.",
        limit=str(limit),
        hint="Send fewer rows at once.",
    )


def build_cut_off_error() -> EngineError:
    """The error for a body whose transfer broke off."""
    return EngineError("body_cut_off", "The transfer of the body broke off.", hint="Send the request again.")


def build_overloaded_error(what: str, limit: int) -> EngineError:
    """The error for a request that comes while the service has as much to do as it may have."""
    return EngineError(
        "overloaded",
        f"The service holds as many {what} as it may: {limit}.",
        limit=str(limit),
        hint="Send the request again after the seconds of Retry-After.",
    )
