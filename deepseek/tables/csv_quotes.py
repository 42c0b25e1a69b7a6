"""Find the quotes that open and close CSV cells, and the ends of records."""

from __future__ import annotations

from array import array
from itertools import chain

import numpy as np
import numpy.typing as npt

from deepseek.tables.memory_limits import MAX_RECORD_BYTES

Positions = npt.NDArray[np.int64]
QUOTES_PER_CHUNK = 65_536  # quotes at a time
TAIL_BYTES = 65_536  # at the end, which mostly tell where the last record ends


def find_cell_quotes(data: bytes, delimiter: bytes) -> Positions | None:
    """Places of the quotes that open and close cells, in turns; None where there are none.

    A quote opens a cell only as its first character; inside, a doubled one is a quote of the text.
    """
    if b'"' not in data:
        return None
    raw = np.frombuffer(data, dtype=np.uint8)
    places = np.flatnonzero(raw == ord('"'))
    opening = places[::2]
    before = raw[np.maximum(opening - 1, 0)]
    fine = (opening == 0) | np.isin(before, np.frombuffer(delimiter + b'\n\r"', dtype=np.uint8))
    if fine.all():
        return np.asarray(places)
    return np.asarray(_walk_quotes(raw, places, set(delimiter + b"\n\r")), dtype=np.int64)


def _walk_quotes(raw: npt.NDArray[np.uint8], places: Positions, starts: set[int]) -> array[int]:
    """The same where quotes also stand within cells that do not begin with one: walked one by one."""
    positions = array("q")  # 8 bytes each: there may be as many as bytes
    inside, skip = False, -1
    for place in chain.from_iterable(
        part.tolist() for part in np.array_split(places, 1 + places.size // QUOTES_PER_CHUNK)
    ):
        if place == skip:
            continue
        if inside:
            if place + 1 < raw.size and raw[place + 1] == ord('"'):
                skip = place + 1
                continue
            positions.append(place)
            inside = False
        elif place == 0 or int(raw[place - 1]) in starts:
            positions.append(place)
            inside = True
    return positions


def find_outside(data: bytes, delimiter: bytes) -> int | None:
    """The first place behind a quote where no cell is open, whatever precedes the data; None where none is found.

    A quote behind an ordinary character opens no cell, and closes one that is open unless a second one follows.
    """
    raw = np.frombuffer(data, dtype=np.uint8)
    places = np.flatnonzero(raw == ord('"'))
    places = places[places > 0]
    if not places.size:
        return None
    closes = ~np.isin(raw[places - 1], np.frombuffer(delimiter + b'\n\r"', dtype=np.uint8))
    closes[:-1] &= np.diff(places) > 1
    closes[-1] &= int(places[-1]) + 1 < len(data)  # what follows the last byte is not known
    found = places[closes]
    return int(found[0]) + 1 if found.size else None


def find_last_record_end(data: bytes, delimiter: bytes) -> int:
    """Where the last whole record ends, behind its line end; 0 where none does."""
    if len(data) > TAIL_BYTES:
        begin = len(data) - TAIL_BYTES
        outside = find_outside(data[begin:], delimiter)
        if outside is not None and (end := find_last_record_end(data[begin + outside :], delimiter)):
            return begin + outside + end
    places = find_cell_quotes(data, delimiter)
    if places is None:
        end = data.rfind(b"\n")
        return max(end, data.rfind(b"\r", end + 1, -1)) + 1  # \r at the end may be half of \r\n
    ends = find_unquoted_line_ends(data, places)
    return int(ends[-1]) + 1 if ends.size else 0


def find_record_end(data: bytes, delimiter: bytes) -> int:
    """Where the first record ends, behind its line end; -1 where none does within MAX_RECORD_BYTES."""
    data = data[:MAX_RECORD_BYTES]
    places = find_cell_quotes(data, delimiter)
    if places is None:
        end = data.find(b"\n")
        lone = data.find(b"\r", 0, -1 if end < 0 else max(end - 1, 0))
        return (end if lone < 0 else lone) + 1 or -1
    ends = find_unquoted_line_ends(data, places)
    return int(ends[0]) + 1 if ends.size else -1


def find_unquoted_line_ends(data: bytes, places: Positions) -> Positions:
    """Places of the line ends that no cell holds: an even number of quotes lies before them. In linear time."""
    raw = np.frombuffer(data, dtype=np.uint8)
    is_end = raw == ord("\n")
    if count_lone_returns(data):
        is_end[:-1] |= (raw[:-1] == ord("\r")) & ~is_end[1:]
    ends = np.flatnonzero(is_end)
    return np.asarray(ends[np.searchsorted(places, ends) % 2 == 0])


def count_line_ends(data: bytes) -> int:
    r"""How often a line ends: by \n, by \r\n or by \r."""
    return data.count(b"\n") + count_lone_returns(data)


def count_lone_returns(data: bytes) -> int:
    r"""How often \r ends a line by itself; that there is none is found at the speed of memory."""
    return data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else 0


def count_unquoted_delimiters(record: bytes, delimiter: bytes) -> int:
    """How often the delimiter stands in a record outside of quotes."""
    places = find_cell_quotes(record, delimiter)
    if places is None:
        return record.count(delimiter)
    delimiters = np.flatnonzero(np.frombuffer(record, dtype=np.uint8) == delimiter[0])
    return int(np.count_nonzero(np.searchsorted(places, delimiters) % 2 == 0))
