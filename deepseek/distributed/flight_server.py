"""A shard served over Arrow Flight.

One DoExchange stream per worker: its command attaches the worker, and the first answer is the parameters; then each
push of a gradient is answered by the parameters to use next. Small calls are actions. Every call needs the fit's token,
which is checked before anything of the call is read. An answer is sent from the shard's own memory: in async and
bounded mode some of its values may already be one step newer than others, which the modes allow.
"""

import hmac
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import safetensors.torch
import torch

from deepseek.distributed.certificates import ServerCertificate
from deepseek.distributed.checkpoint import (
    ShardCheckpoint,
    ShardProgress,
    get_checkpoint_path,
    write_checkpoint,
    write_file,
)
from deepseek.distributed.directory import ServerAddress
from deepseek.distributed.errors import FitError, SessionReplacedError
from deepseek.distributed.layout import MAX_STATE_BYTES, load_tensors, view_array
from deepseek.distributed.memory import map_claim
from deepseek.distributed.options import FitOptions, ServerOptions
from deepseek.distributed.shard import DroppedError, Push, Shard
from deepseek.distributed.wire import (
    MAX_HEADER_BYTES,
    MAX_SHARD_VALUES,
    SCHEMA,
    RefusedError,
    build_batches,
    get_integer,
    get_text,
    parse_header,
    read_header,
    read_vector,
    write_header,
    write_vector,
)

STATE_NAME = "state.safetensors"
_RESULT_BYTES = 1 << 22


class _TokenCheck(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow ships no types
    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> None:
        header = next((values[0] for name, values in headers.items() if name.lower() == "authorization"), "")
        data = header if isinstance(header, bytes) else header.encode()
        if not hmac.compare_digest(data, self._expected):
            raise flight.FlightUnauthenticatedError("The token is not the token of this fit.")


class ShardServer(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow ships no types
    """Serves the shard `index` of the fit in `folder` on a free port of `host`, from its construction on."""

    def __init__(
        self,
        folder: Path,
        index: int,
        server: ServerOptions,
        options: FitOptions,
        *,
        token: str,
        host: str = "127.0.0.1",
        certificate: ServerCertificate | None = None,
    ) -> None:
        self._folder, self._index = folder, index
        self._server, self._options = server, options
        self._lock = threading.Lock()
        self._released: set[int] = set()
        self._optimizer: dict[str, torch.Tensor] = {}  # to begin with
        self.shard: Shard | None = None
        self._is_encrypted = certificate is not None
        if get_checkpoint_path(folder, index).exists():
            self._load()
        scheme = "grpc+tls" if certificate else "grpc"
        address = f"[{host}]" if ":" in host else host
        super().__init__(
            f"{scheme}://{address}:0",
            tls_certificates=[(certificate.certificate, certificate.key)] if certificate else None,
            middleware={"token": _TokenCheck(token)},
        )
        pem = certificate.certificate.decode() if certificate else ""
        self.address = ServerAddress(f"{scheme}://{address}:{self.port}", pem)

    def _load(self) -> None:
        shard = Shard(self._folder, self._index, self._server, self._options)
        self._batches = build_batches(view_array(shard.parameters))
        self.shard = shard

    def _get_shard(self) -> Shard:
        if self.shard is None:
            raise flight.FlightUnavailableError("The shard has no parameters yet.")
        return self.shard

    @property
    def is_released(self) -> bool:
        """Whether every worker that finished has fetched the result."""
        return self.shard is not None and self.shard.is_finished and self._released >= set(self.shard.progress.done)

    # Streams

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Serve one worker for as long as its stream is open."""
        with _translate_errors():
            hello = parse_header(descriptor.command)
            shard = self._get_shard()
            rank = get_integer(hello, "rank", 0, self._server.worker_num - 1)
            session = get_text(hello, "session")
            clock = None if hello.get("clock") is None else get_integer(hello, "clock", 0, 1 << 62)
            if get_text(hello, "layout") != shard.progress.layout:
                raise RefusedError(
                    f"build_model made another module in worker {rank} than the fit began with: "
                    "names or shapes of its parameters differ."
                )
            reason = "sent a message that was refused"
            shared = self._map_gradient(shard, hello.get("memory"))
            due = shard.attach(rank, session, clock)
            try:
                writer.begin(SCHEMA)
                memory = shard.memory.claim if shared is not None and shard.memory else None
                ending = shard.progress.is_ending
                write_vector(writer, self._batches, {"clock": due, "memory": memory, "ending": ending})
                self._serve_pushes(shard, rank, session, shared, context, reader, writer)
                reason = "connection closed"
            except (DroppedError, OSError, pa.ArrowException, flight.FlightError):
                reason = "connection lost"
                raise
            finally:
                shard.detach(rank, session, reason)

    def _map_gradient(self, shard: Shard, claim: Any) -> torch.Tensor | None:
        """The worker's gradient of this shard in its own memory; None where it has to come through the stream."""
        if not isinstance(claim, dict) or shard.memory is None or self._is_encrypted:
            return None
        start, size = get_integer(claim, "start", 0, MAX_SHARD_VALUES), shard.parameters.numel()
        try:
            return map_claim(claim, start + size)[start:]
        except OSError:
            return None

    def _serve_pushes(
        self,
        shard: Shard,
        rank: int,
        session: str,
        shared: torch.Tensor | None,
        context: Any,
        reader: Any,
        writer: Any,
    ) -> None:
        gradient = torch.empty_like(shard.parameters) if shared is None else shared
        vector = view_array(gradient)
        while (header := read_vector(reader, vector) if shared is None else read_header(reader)) is not None:
            step = get_integer(header, "step", 0, 1 << 62)
            epoch = get_integer(header, "epoch", 0, self._options.epochs - 1)
            loss = header.get("loss")
            if isinstance(loss, bool) or not isinstance(loss, int | float) or not np.isfinite(loss):
                raise RefusedError("loss is missing or not finite; send a number.")
            push = Push(step, epoch, float(loss), gradient)
            clock = shard.push(rank, session, push, context.is_cancelled)
            answer = {"clock": clock, "ending": shard.progress.is_ending}
            if shared is None:
                write_vector(writer, self._batches, answer)
            else:
                write_header(writer, answer)

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Take the initial parameters, once."""
        with _translate_errors(), self._lock:
            hello = parse_header(descriptor.command)
            if self.shard is not None:
                raise RefusedError("The shard already has parameters.")
            size = get_integer(hello, "size", 1, MAX_SHARD_VALUES)
            layout = get_text(hello, "layout")
            parameters = torch.empty(size, dtype=torch.float32)
            if read_vector(reader, view_array(parameters)) is None:
                raise RefusedError("The stream has no parameters.")
            path = get_checkpoint_path(self._folder, self._index)
            _validate_optimizer(self._optimizer, size)
            write_checkpoint(path, ShardCheckpoint(parameters, self._optimizer, ShardProgress(layout)))
            self._load()

    def do_get(self, context: Any, ticket: Any) -> Any:
        """The parameters as they are now."""
        with _translate_errors():
            self._get_shard()
            return flight.GeneratorStream(SCHEMA, iter(self._batches))

    # Actions

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        """One of ACTIONS."""
        with _translate_errors():
            call = getattr(self, f"_do_{action.type}", None)
            if call is None or action.type not in ACTIONS:
                raise RefusedError(f"There is no action {action.type[:50]!r}; known: {', '.join(ACTIONS)}.")
            data = memoryview(action.body)
            answer = call(data) or b""
        return (answer[start : start + _RESULT_BYTES] for start in range(0, len(answer), _RESULT_BYTES))

    def _parse_session(self, data: memoryview) -> tuple[int, str]:
        header = parse_header(data)
        return get_integer(header, "rank", 0, self._server.worker_num - 1), get_text(header, "session")

    def _do_heartbeat(self, data: memoryview) -> None:
        self._get_shard().beat(*self._parse_session(data))

    def _do_leave(self, data: memoryview) -> None:
        self._get_shard().leave(*self._parse_session(data))

    def _do_end(self, data: memoryview) -> None:
        shard = self._get_shard()
        shard.validate_session(*self._parse_session(data))
        shard.end()

    def _do_release(self, data: memoryview) -> None:
        self._released.add(get_integer(parse_header(data), "rank", 0, self._server.worker_num - 1))

    def _do_status(self, data: memoryview) -> bytes:
        shard = self.shard
        return json.dumps({"initialised": shard is not None, "finished": bool(shard and shard.is_finished)}).encode()

    def _do_report(self, data: memoryview) -> bytes:
        progress = self._get_shard().progress
        fields = {name: getattr(progress, name) for name in ("steps", "losses", "max_lead", "events")}
        return json.dumps(fields).encode()

    def _do_get_state(self, data: memoryview) -> bytes:
        """Frozen parameters and buffers: a rank's own where it has put some, else those of the lowest rank."""
        rank = get_integer(parse_header(data), "rank", 0, self._server.worker_num - 1)
        return read_state(self._folder, rank)

    def _do_put_state(self, data: memoryview) -> None:
        head, _, body = bytes(data[: MAX_STATE_BYTES + MAX_HEADER_BYTES]).partition(b"\n")
        rank, session = self._parse_session(memoryview(head))
        self._get_shard().validate_session(rank, session)
        _validate_state(body, read_state(self._folder, None))
        write_file(_get_state_path(self._folder, rank), body)

    def _do_put_initial_state(self, data: memoryview) -> None:
        with self._lock:
            if self.shard is not None or len(data) > MAX_STATE_BYTES:
                raise RefusedError("The shard has a state already, or this one is too large.")
            load_tensors(bytes(data))
            write_file(self._folder / STATE_NAME, bytes(data))

    def _do_get_optimizer(self, data: memoryview) -> bytes:
        return safetensors.torch.save(self._get_shard().dump_optimizer())

    def _do_put_optimizer(self, data: memoryview) -> None:
        """Take the optimizer's state to begin with, before the parameters."""
        with self._lock:
            if self.shard is not None or len(data) > MAX_STATE_BYTES:
                raise RefusedError("The shard has parameters already, or the optimizer's state is too large.")
            self._optimizer = load_tensors(bytes(data))


ACTIONS = (
    "heartbeat",
    "leave",
    "end",
    "release",
    "status",
    "report",
    "get_state",
    "put_state",
    "put_initial_state",
    "get_optimizer",
    "put_optimizer",
)


def _validate_optimizer(tensors: dict[str, torch.Tensor], size: int) -> None:
    if any(tensor.numel() not in (1, size) for tensor in tensors.values()):
        raise RefusedError(f"The optimizer's state is not of a shard of {size:,} values.")


def read_state(folder: Path, rank: int | None) -> bytes:
    """The state that a rank has put, else that of the lowest rank that has, else (or for None) the initial one."""
    paths = [folder / STATE_NAME]
    if rank is not None:
        paths = [_get_state_path(folder, rank), *sorted(folder.glob("state-*.safetensors")), *paths]
    return next((path.read_bytes() for path in paths if path.exists()), b"")


def _get_state_path(folder: Path, rank: int) -> Path:
    return folder / f"state-{rank:04}.safetensors"


def _validate_state(data: bytes, initial: bytes) -> None:
    tensors, expected = load_tensors(data), load_tensors(initial) if initial else {}
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    if shapes != {name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()}:
        raise RefusedError("The state has other names, shapes or types than the initial one.")


class _translate_errors:
    """Turn our errors into Flight's, which carry a status to the client and leave the server running."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case DroppedError():
                raise flight.FlightUnavailableError(str(error)) from error
            case SessionReplacedError():
                raise flight.FlightUnauthorizedError(str(error)) from error
            case FitError():
                raise pa.ArrowInvalid(str(error)) from error


def build_token() -> str:
    """A new secret of 256 bits for one fit."""
    return secrets.token_urlsafe(32)
