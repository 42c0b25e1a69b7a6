"""Follow a job live: its Server-Sent Events, over dropped connections and a plane that restarts.

Each event has a number. After a break the stream goes on behind the last one that came, so nothing is lost and nothing
comes twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deepseek.client.errors import PlaneUnreachable
from deepseek.client.transport import PlaneTransport

SILENCE_SECONDS = 30.0  # the plane says something every 10 seconds
PATIENCE_SECONDS = 600.0
MAX_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class StreamEvent:
    """`name`: state, progress, log, metric, usage or end; `id` is None where a later event of the same write has it."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    id: int | None = None


def follow_events(
    transport: PlaneTransport, path: str, *, after: int = 0, patience: float = PATIENCE_SECONDS
) -> Iterator[StreamEvent]:
    """The events behind number `after`, `end` last; PlaneUnreachable after `patience` seconds without an answer."""
    heard, pause = time.monotonic(), 0.2
    while True:
        try:
            # A compressor would hold lines back.
            headers = {"Last-Event-ID": str(after), "Accept-Encoding": "identity"}
            with transport.stream(path, headers=headers, silence=SILENCE_SECONDS) as answer:
                for event in parse_events(answer.iter_bytes()):
                    heard, pause = time.monotonic(), 0.2
                    after = after if event.id is None else event.id
                    yield event
                    if event.name == "end":
                        return
        except PlaneUnreachable:
            if time.monotonic() - heard >= patience:
                raise
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
        time.sleep(pause)


def parse_events(chunks: Iterable[bytes]) -> Iterator[StreamEvent]:
    """Events of a stream. Lines end with a line feed alone: a text may hold any other character that looks like one.

    What is not whole when the stream ends is dropped: it comes again.
    """
    rest, fields = b"", dict[str, str]()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", errors="replace")
            if text:
                name, _, value = text.partition(":")
                fields[name] = value.removeprefix(" ")  # a comment has the empty name
                continue
            if event := _build_event(fields):
                yield event
            fields = {}


def _build_event(fields: dict[str, str]) -> StreamEvent | None:
    try:
        data = json.loads(fields["data"])
        number = int(fields["id"]) if "id" in fields else None
    except (KeyError, ValueError):
        return None
    return StreamEvent(fields.get("event", "message"), data if isinstance(data, dict) else {}, number)
