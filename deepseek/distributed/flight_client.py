"""A worker's connections to the shards. A lost one is opened again, to wherever the server is by then."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.flight as flight

from deepseek.distributed.certificates import SERVER_NAME
from deepseek.distributed.directory import Directory, wait_for_address
from deepseek.distributed.errors import FitError, SessionReplacedError
from deepseek.distributed.layout import view_array
from deepseek.distributed.memory import map_claim
from deepseek.distributed.options import ServerOptions
from deepseek.distributed.wire import (
    BATCH_VALUES,
    SCHEMA,
    Vector,
    build_batches,
    call_action,
    copy_values,
    get_integer,
    is_lost_connection,
    read_header,
    read_vector,
    write_header,
    write_vector,
)

_RETRY_SECONDS = 0.05
T = TypeVar("T")


class ShardClient:
    """The connection to one server. Calls raise FitError when rpc_timeout has passed without an answer."""

    def __init__(self, index: int, directory: Directory, server: ServerOptions, token: str) -> None:
        self.index = index
        self._directory, self._server = directory, server
        self._headers = [(b"authorization", f"Bearer {token}".encode())]
        self._client: Any = None
        self.is_encrypted = False
        self._parameters: Vector | None = None  # the server's memory, where this process can map it
        self._can_map = True
        self._writer: Any = None
        self._reader: Any = None
        self._waiting_since: float | None = None
        self._timed_out = False
        self.is_ending = False  # the server applies no further gradient

    # Calls

    def call(self, name: str, body: bytes = b"", *, seconds: float | None = None) -> bytes:
        """Call an action, again and again until the server answers or the time is over."""
        return self._retry(
            lambda left: call_action(self._connect(left), self._build_options(left), name, body), seconds
        )

    def call_once(self, name: str, body: bytes, seconds: float) -> None:
        """Call an action on the present connection; whatever fails is ignored."""
        client = self._client
        if client is not None:
            with suppress(pa.ArrowException, flight.FlightError, OSError):
                call_action(client, self._build_options(seconds), name, body)

    def put_parameters(self, vector: Vector, layout: str) -> None:
        """Give the server its initial parameters, unless it has some."""

        def put(left: float) -> None:
            client = self._connect(left)
            if json.loads(call_action(client, self._build_options(left), "status"))["initialised"]:
                return
            command = json.dumps({"size": vector.size, "layout": layout}).encode()
            descriptor = flight.FlightDescriptor.for_command(command)
            writer, _ = client.do_put(descriptor, SCHEMA, self._build_options(left))
            with writer:
                write_vector(writer, build_batches(vector), {})

        self._retry(put)

    def get_parameters(self, out: Vector) -> None:
        """Read the server's parameters into `out`."""

        def get(left: float) -> None:
            reader = self._connect(left).do_get(flight.Ticket(b""), self._build_options(left))
            for start in range(0, out.size, BATCH_VALUES):
                copy_values(reader.read_chunk().data, out[start : start + BATCH_VALUES])

        self._retry(get)

    # The stream

    def attach(self, hello: dict[str, Any], out: Vector) -> int:
        """Open the stream and read the parameters into `out`; returns the clock that the server answers."""
        return self._retry(lambda left: self._attach(hello, out, left))

    def _attach(self, hello: dict[str, Any], out: Vector, left: float) -> int:
        client = self._connect(left)
        if self.is_encrypted or not self._can_map:
            hello = {name: value for name, value in hello.items() if name != "memory"}
        descriptor = flight.FlightDescriptor.for_command(json.dumps(hello).encode())
        self._writer, self._reader = client.do_exchange(descriptor, flight.FlightCallOptions(headers=self._headers))
        self._writer.begin(SCHEMA)
        self._parameters = None
        header = self._receive(out)
        if header.get("memory"):
            try:
                self._parameters = view_array(map_claim(header["memory"], out.size))
            except OSError as error:
                self._can_map = False
                raise flight.FlightUnavailableError("The server's memory cannot be mapped.") from error
        return self._get_clock(header)

    def send(self, batches: list[Any], header: dict[str, Any]) -> bool:
        """Push a gradient; False if the connection is lost."""
        self._waiting_since = time.monotonic()
        if self._writer is None:
            return False
        try:
            if self._parameters is None:
                write_vector(self._writer, batches, header)
            else:
                write_header(self._writer, header)
        except (pa.ArrowException, flight.FlightError, OSError):  # the reader knows why
            return False
        return True

    def receive(self, hello: dict[str, Any], batches: list[Any], header: dict[str, Any], out: Vector) -> None:
        """Read the answer to a push into `out`; attaches and pushes again if the connection is lost."""
        try:
            if self._reader is not None:
                self._receive(out)
                return
        except (pa.ArrowException, flight.FlightError, OSError, StopIteration) as error:
            self._raise_unless_lost(error)
            self.close()

        def push_again(left: float) -> None:
            self._waiting_since = time.monotonic() - (self._server.rpc_timeout - left)
            if self._attach(hello | {"clock": header["step"]}, out, left) > header["step"]:
                return  # it had come before the connection was lost
            self.send(batches, header)
            self._receive(out)

        self._retry(push_again)

    def _get_clock(self, header: dict[str, Any]) -> int:
        return get_integer(header, "clock", 0, 1 << 62)

    def _receive(self, out: Vector) -> dict[str, Any]:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        header = read_vector(self._reader, out) if self._parameters is None else read_header(self._reader)
        self._waiting_since = None
        if header is None:
            raise flight.FlightUnavailableError("The server has closed the stream.")
        self.is_ending = bool(header.get("ending"))
        if self._parameters is not None:
            out[:] = self._parameters
        return header

    def cancel_overdue(self) -> None:
        """Cancel a wait for an answer that has exceeded rpc_timeout. Called by another thread."""
        since, reader = self._waiting_since, self._reader
        if since is not None and reader is not None and time.monotonic() - since > self._server.rpc_timeout:
            self._timed_out = True
            with suppress(pa.ArrowException, flight.FlightError, OSError):
                reader.cancel()

    def close(self) -> None:
        """Close the stream and the connection."""
        writer, client, reader = self._writer, self._client, self._reader
        self._writer = self._reader = self._client = None
        for end in (reader and reader.cancel, writer and writer.close, client and client.close):
            if end:
                with suppress(pa.ArrowException, flight.FlightError, OSError):
                    end()

    # Connection

    def _connect(self, seconds: float) -> Any:
        if self._client is None:
            address = wait_for_address(self._directory, self.index, seconds)
            if address is None:
                raise flight.FlightUnavailableError("It has not published an address.")
            tls: dict[str, Any] = {}
            self.is_encrypted = bool(address.certificate)
            if address.certificate:
                tls = {"tls_root_certs": address.certificate.encode(), "override_hostname": SERVER_NAME}
            self._client = flight.FlightClient(address.location, **tls)
        return self._client

    def _build_options(self, seconds: float) -> Any:
        return flight.FlightCallOptions(timeout=max(seconds, 0.1), headers=self._headers)

    def _retry(self, call: Callable[[float], T], seconds: float | None = None) -> T:
        limit = self._server.rpc_timeout if seconds is None else seconds
        until = time.monotonic() + limit
        while True:
            try:
                return call(max(until - time.monotonic(), 0.0))
            except (pa.ArrowException, flight.FlightError, OSError, StopIteration) as error:
                self._raise_unless_lost(error)
                self.close()
                if time.monotonic() > until:
                    raise self._build_timeout_error(error) from error
            time.sleep(_RETRY_SECONDS)

    def _raise_unless_lost(self, error: BaseException) -> None:
        if isinstance(error, flight.FlightUnauthorizedError):
            raise SessionReplacedError(_shorten(error)) from error
        if self._timed_out:
            raise self._build_timeout_error(error) from error
        if not isinstance(error, StopIteration) and not is_lost_connection(error):
            raise FitError(f"Parameter server {self.index} refuses: {_shorten(error)}") from error

    def _build_timeout_error(self, error: BaseException) -> FitError:
        return FitError(
            f"Parameter server {self.index} did not answer within rpc_timeout={self._server.rpc_timeout:g} s "
            f"({_shorten(error)}). Check that its process lives and can be reached, or raise rpc_timeout."
        )


class Heartbeats(threading.Thread):
    """Beats to every server while the worker computes, and ends waits that exceed rpc_timeout."""

    def __init__(self, clients: Sequence[ShardClient], server: ServerOptions, rank: int, session: str) -> None:
        super().__init__(name="parameter-server-heartbeats", daemon=True)
        self._clients, self._server = clients, server
        self._body = json.dumps({"rank": rank, "session": session}).encode()
        self._ended = threading.Event()

    def run(self) -> None:
        interval = self._server.heartbeat_interval
        pause = min(interval, max(self._server.rpc_timeout / 10, 0.02), 1.0)
        due = time.monotonic() + interval
        while not self._ended.wait(pause):
            for client in self._clients:
                client.cancel_overdue()
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                for client in self._clients:
                    client.call_once("heartbeat", self._body, interval)

    def end(self) -> None:
        """Stop and wait for the thread."""
        self._ended.set()
        self.join()


def _shorten(error: BaseException) -> str:
    """The server's own words, without the transport's details."""
    text = str(error).partition(". Detail:")[0].partition(" gRPC client debug context")[0]
    return text.rpartition("with message: ")[2].strip()[:500] or type(error).__name__
