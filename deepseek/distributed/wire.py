"""What goes over Arrow Flight: float32 record batches of bounded size, and small JSON objects beside them."""

import json
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight

from deepseek.distributed.errors import FitError

Vector = np.ndarray[Any, np.dtype[np.float32]]

BATCH_VALUES = 1 << 20
"""Of one message: 4 MiB. Larger ones fall out of the processor's caches, smaller ones cost more calls."""
MAX_HEADER_BYTES = 4096
MAX_SHARD_VALUES = 1 << 32
SCHEMA = pa.schema([pa.field("values", pa.float32(), nullable=False)])


class RefusedError(FitError):
    """A message that is not of the protocol."""


def build_batches(vector: Vector) -> list[Any]:
    """Record batches over the memory of `vector`: they show what is in it when they are written."""
    parts = (vector[start : start + BATCH_VALUES] for start in range(0, vector.size, BATCH_VALUES))
    return [
        pa.RecordBatch.from_arrays(
            [pa.Array.from_buffers(pa.float32(), part.size, [None, pa.py_buffer(part)])], schema=SCHEMA
        )
        for part in parts
    ]


def write_vector(writer: Any, batches: list[Any], header: dict[str, Any]) -> None:
    """Write a vector's batches, the header with the first."""
    writer.write_with_metadata(batches[0], json.dumps(header).encode())
    for batch in batches[1:]:
        writer.write_batch(batch)


def read_vector(reader: Any, out: Vector) -> dict[str, Any] | None:
    """Read a vector into `out`; returns its header, None at the end of the stream. Raises RefusedError."""
    header = None
    for start in range(0, out.size, BATCH_VALUES):
        part = out[start : start + BATCH_VALUES]
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            if header is None:
                return None
            raise RefusedError("The stream ends within a vector.") from None
        if header is None:
            _validate_schema(chunk.data)
            header = parse_header(chunk.app_metadata)
        copy_values(chunk.data, part)
    return header


def write_header(writer: Any, header: dict[str, Any]) -> None:
    """Write a header whose vector lies in shared memory."""
    writer.write_metadata(json.dumps(header).encode())


def read_header(reader: Any) -> dict[str, Any] | None:
    """Read a header whose vector lies in shared memory; None at the end of the stream. Raises RefusedError."""
    try:
        chunk = reader.read_chunk()
    except StopIteration:
        return None
    if chunk.data is not None:
        raise RefusedError("The message has values, but its vector lies in shared memory.")
    return parse_header(chunk.app_metadata)


def _validate_schema(batch: Any) -> None:
    if batch is None or not batch.schema.equals(SCHEMA):
        found = (
            "no values" if batch is None else ", ".join(f"{field.name}: {field.type}" for field in batch.schema)[:200]
        )
        raise RefusedError(f"The message has {found}; send one column of float32, named values.")


def copy_values(batch: Any, part: Vector) -> None:
    """Copy a record batch into `part`, which it must fill. Raises RefusedError."""
    if batch is None or batch.num_rows != part.size or batch.num_columns != 1 or batch.column(0).null_count:
        rows = "no" if batch is None else f"{batch.num_rows:,}"
        raise RefusedError(f"The message has {rows} values; {part.size:,} without nulls are due.")
    column = batch.column(0)
    values = np.frombuffer(column.buffers()[1], np.uint8, part.nbytes, column.offset * 4)
    part.view(np.uint8)[:] = values  # as bytes: what arrives is not always aligned to 4 bytes


def parse_header(data: Any) -> dict[str, Any]:
    """A JSON object of at most MAX_HEADER_BYTES. Raises RefusedError."""
    text = b"" if data is None else bytes(memoryview(data)[: MAX_HEADER_BYTES + 1])
    try:
        if len(text) > MAX_HEADER_BYTES:
            raise ValueError("too long")
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"The header is not a JSON object of at most {MAX_HEADER_BYTES:,} bytes.") from error
    return cast("dict[str, Any]", header)


def get_integer(header: dict[str, Any], name: str, low: int, high: int) -> int:
    """An integer of a header, from `low` to `high`. Raises RefusedError."""
    value = header.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RefusedError(f"{name} is {str(value)[:50]}; send an integer from {low} to {high}.")
    return value


def get_text(header: dict[str, Any], name: str) -> str:
    """A short text of a header. Raises RefusedError."""
    value = header.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        raise RefusedError(f"{name} is missing; send a text of at most 200 characters.")
    return value


def call_action(client: Any, options: Any, name: str, body: bytes = b"") -> bytes:
    """The joined results of an action."""
    return b"".join(result.body.to_pybytes() for result in client.do_action(flight.Action(name, body), options))


def is_lost_connection(error: BaseException) -> bool:
    """Whether a call failed for a reason that a new connection may mend."""
    kinds = (
        flight.FlightUnavailableError,
        flight.FlightTimedOutError,
        flight.FlightCancelledError,
        flight.FlightInternalError,
    )
    return isinstance(error, kinds) or (
        isinstance(error, OSError | pa.ArrowException) and not isinstance(error, pa.ArrowInvalid | flight.FlightError)
    )


Cancelled = Callable[[], bool]
