"""The only way out of the browser: a proxy on this machine that connects to nothing but what the gate admits.

It serves one request a connection. What it refuses is answered with 403 and counted; nothing was opened for it.
"""

import asyncio
from contextlib import suppress

from deepseek.collect.gate import Gate, Refused, resolve

NOWHERE = "nowhere.invalid"
"""Where the browser is told to look for what it would look for unasked: a name that is no one's (RFC 6761)."""
HEAD_LIMIT = 64 * 1024
BLOCK = 64 * 1024
DROPPED = (b"proxy-connection", b"connection", b"keep-alive", b"upgrade")


class FilteringProxy:
    """`start` gives its port. `received` counts the bytes that came from hosts."""

    def __init__(self, gate: Gate, *, seconds: float, max_bytes: int) -> None:
        self._gate, self._seconds, self._max_bytes = gate, seconds, max_bytes
        self._server: asyncio.Server | None = None
        self.received = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_LIMIT)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._handle_request(reader, writer)
        except Refused as refused:
            if not refused.what.startswith(NOWHERE):
                self._gate.count(refused)
            await _write_status(writer, 403, refused.message)
        except (OSError, TimeoutError) as error:
            await _write_status(writer, 502, f"{type(error).__name__}: {error}")
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await _write_status(writer, 400, "This request cannot be read.")
        finally:
            writer.close()

    async def _handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *headers = head[:-4].split(b"\r\n")
        method, target, _version = line.decode("ascii").split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            upstream = await self._connect(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._forward(reader, writer, *upstream, body=None)
            return
        host, number = self._gate.check(target)
        upstream = await self._connect(host, number)
        forwarded = [header for header in headers if header.split(b":")[0].strip().lower() not in DROPPED]
        line = f"{method} {_get_path(target)} HTTP/1.1".encode("ascii")
        upstream[1].write(b"\r\n".join([line, *forwarded, b"Connection: close", b"", b""]))
        await self._forward(reader, writer, *upstream, body=_parse_content_length(forwarded))

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure: OSError | None = None
        for address in await resolve(self._gate, host, port):
            try:
                return await asyncio.open_connection(address, port)
            except OSError as error:
                failure = error
        raise failure or OSError("no address")

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        *,
        body: int | None,
    ) -> None:
        """Both ways until the host has ended. `body`: bytes of the request that still go up; None for all (a tunnel).

        A second request on the same connection goes nowhere: it may be meant for another host.
        """
        upwards = asyncio.ensure_future(_copy(reader, up_writer, body))
        try:
            left = self._max_bytes
            while left > 0 and (block := await up_reader.read(min(BLOCK, left))):
                left -= len(block)
                self.received += len(block)
                writer.write(block)
                await writer.drain()
        finally:
            upwards.cancel()
            up_writer.close()
            with suppress(asyncio.CancelledError, OSError):
                await upwards


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
    while left != 0 and (block := await reader.read(BLOCK if left is None else min(BLOCK, left))):
        left = None if left is None else left - len(block)
        writer.write(block)
        await writer.drain()


def _get_path(target: str) -> str:
    """What a host is asked for, out of the whole address that a proxy is."""
    rest = target.partition("://")[2]
    _, slash, path = rest.partition("/")
    return f"/{path}" if slash else f"/{rest[rest.index('?') :]}" if "?" in rest else "/"


def _parse_content_length(headers: list[bytes]) -> int:
    for header in headers:
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def _write_status(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with suppress(OSError):
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
