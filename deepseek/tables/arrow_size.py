"""What an Arrow file takes in memory, by the headers of its messages: compressed buffers begin with their length.

Messages are FlatBuffers: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from deepseek.messages import Message
from deepseek.tables.memory_limits import BATCH_BYTES, refuse_too_large
from deepseek.tables.parquet_size import COPIES_PER_BATCH

FILE_MAGIC_BYTES = 8  # behind which a file goes on as a stream does
DICTIONARY_BATCH, RECORD_BATCH = 2, 3  # kinds of messages
HEADER_TYPE, HEADER = 1, 2  # fields of a message
DICTIONARY_DATA_FIELD = 1  # field of a dictionary batch: a record batch
BUFFERS, COMPRESSION = 2, 3  # fields of a record batch
UNCOMPRESSED = -1  # in the place of a buffer's length


def refuse_large_batches(path: Path, is_file: bool) -> None:
    """Raise EngineError ``table_too_large`` where a batch, beside all dictionaries, takes more than the run may.

    Nothing is decompressed, and of buffers that are not compressed nothing is read. What is no Arrow file is left to
    the reader, which says why.
    """
    dictionaries = largest = 0
    try:
        with pa.memory_map(os.fsdecode(path)) as file:
            file.seek(FILE_MAGIC_BYTES if is_file else 0)
            for message in pa.ipc.MessageReader.open_stream(file):
                size = measure_message(message)
                if message.type == "dictionary":
                    dictionaries += size
                else:
                    largest = max(largest, size)
                del message  # it holds a view of the file, which could not be closed
    except (pa.ArrowException, OSError, ValueError):
        return
    needed = dictionaries + largest + COPIES_PER_BATCH * min(largest, BATCH_BYTES)
    refuse_too_large(needed, Message("Ask for so much memory, or write the Arrow file in smaller batches."))


def measure_message(message: pa.ipc.Message) -> int:
    """Bytes of a batch while it is read: its buffers, and where they are compressed also what they are made from."""
    if message.body is None:
        return 0
    body, packed = memoryview(message.body), len(message.body)
    try:
        sizes = list_buffer_sizes(bytes(message.metadata), body)
    except (struct.error, IndexError, ValueError):
        return packed
    return packed if sizes is None else packed + sum(sizes)


def list_buffer_sizes(metadata: bytes, body: memoryview) -> list[int] | None:
    """Decompressed bytes of each buffer of a batch; None where it is not compressed."""
    message = read_offset(metadata, 0)
    kind = metadata[find_field(metadata, message, HEADER_TYPE)]
    batch = read_offset(metadata, find_field(metadata, message, HEADER))
    if kind == DICTIONARY_BATCH:
        batch = read_offset(metadata, find_field(metadata, batch, DICTIONARY_DATA_FIELD))
    elif kind != RECORD_BATCH:
        return None
    if not find_field(metadata, batch, COMPRESSION):
        return None
    vector = read_offset(metadata, find_field(metadata, batch, BUFFERS))
    (count,) = struct.unpack_from("<I", metadata, vector)
    sizes = []
    for offset, length in struct.iter_unpack("<qq", metadata[vector + 4 : vector + 4 + 16 * count]):
        if length >= 8:
            (size,) = struct.unpack_from("<q", body, offset)
            sizes.append(length if size == UNCOMPRESSED else max(0, size))
    return sizes


def read_offset(data: bytes, place: int) -> int:
    """The place that an unsigned offset at `place` leads to."""
    return int(place + struct.unpack_from("<I", data, place)[0])


def find_field(data: bytes, table: int, number: int) -> int:
    """Where field `number` of a table is; 0 where it has none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    entry = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", data, vtable + entry) if entry < size else (0,)
    return int(table + offset) if offset else 0
