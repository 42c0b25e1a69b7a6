"""What TCP connections carried, put together from the frames of one side, and whether it is TLS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.planes_in_namespaces import IPV4, TCP, Frame

SYN, SEQUENCE_BITS = 2, 32
TLS_KINDS = (20, 21, 22, 23)  # change cipher spec, alert, handshake, application data
End = tuple[str, int]


def assemble_streams(frames: Iterable[Frame]) -> dict[tuple[End, End], bytes]:
    """(source, target) -> the bytes sent, of each connection; a gap, or a connection without its start, is an error."""
    parts: dict[tuple[End, End], list[tuple[int, bytes]]] = defaultdict(list)
    for frame in frames:
        if (frame.kind, frame.protocol) == (IPV4, TCP):
            parts[frame.source, frame.target].append((read_sequence(frame), frame.payload))
            if is_first(frame):
                parts[frame.source, frame.target].insert(0, (read_sequence(frame), b""))
    return {ends: join_parts(ends, pieces) for ends, pieces in parts.items()}


def join_parts(ends: tuple[End, End], pieces: list[tuple[int, bytes]]) -> bytes:
    """The first piece says where the connection begins; what was sent again is left out."""
    first, stream = pieces[0][0] + 1, b""
    places = sorted(((number - first) % 2**SEQUENCE_BITS, data) for number, data in pieces if data)
    for place, data in places:
        assert place <= len(stream), f"{ends}: bytes {len(stream)} to {place} are missing"
        stream += data[len(stream) - place :]
    return stream


def read_sequence(frame: Frame) -> int:
    return int.from_bytes(frame.transport[4:8], "big")


def is_first(frame: Frame) -> bool:
    return bool(frame.transport[13] & SYN)


def find_foreign_bytes(stream: bytes) -> bytes:
    """The first bytes that are no TLS record; empty where the whole stream is TLS, its last record perhaps cut off."""
    start = 0
    while start + 5 <= len(stream):
        kind, major, minor = stream[start : start + 3]
        if kind not in TLS_KINDS or (major, minor > 4) != (3, False):
            return stream[start : start + 40]
        start += 5 + int.from_bytes(stream[start + 3 : start + 5], "big")
    return b""
