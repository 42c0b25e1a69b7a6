"""Following goes on behind the last event, over broken connections and a plane that is away for a while."""

from __future__ import annotations

import json

import pytest

from deepseek.client import PlaneUnreachable
from deepseek.client.events import StreamEvent, follow_events, parse_events

EVENTS = [("log", {"first": number, "lines": [["", "info", f"line {number}"]]}) for number in range(1, 7)]


def message(seq: int) -> bytes:
    name, data = EVENTS[seq - 1]
    return f"id: {seq}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


END = b'id: 6\nevent: end\ndata: {"state": "succeeded"}\n\n'


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("deepseek.client.events.MAX_PAUSE_SECONDS", 0.02)


def break_after(count: int):
    """A plane that breaks off in the middle of each third message."""

    def handler(request) -> None:
        after = int(request.headers["Last-Event-ID"])
        rest = b"".join(message(seq) for seq in range(after + 1, len(EVENTS) + 1)) + END
        cut = sum(len(message(seq)) for seq in range(after + 1, min(after + count, len(EVENTS)) + 1)) + 9
        request.break_off(rest[:cut] if after + count < len(EVENTS) else rest, Content_Length=str(len(rest)))

    return handler


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nothing_is_lost_and_nothing_comes_twice(serve, connect, count):
    server = serve(break_after(count))
    events = list(follow_events(connect(server), "/events", patience=5))
    assert [event.id for event in events] == [1, 2, 3, 4, 5, 6, 6]
    assert [(event.name, event.data) for event in events[:-1]] == EVENTS
    assert events[-1] == StreamEvent("end", {"state": "succeeded"}, 6)
    assert len(server.requests) == -(-len(EVENTS) // count)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_plane_that_restarts_is_asked_again(serve, connect, status):
    def handler(request) -> None:
        if len(server.requests) < 4:
            request.answer(status, b"<html>away</html>")
        else:
            request.answer(200, message(1) + END)

    server = serve(handler)
    assert [event.name for event in follow_events(connect(server), "/events", patience=5)] == ["log", "end"]


def test_plane_that_stays_away(serve, connect):
    server = serve(lambda request: request.answer(503, b""))
    with pytest.raises(PlaneUnreachable):
        list(follow_events(connect(server), "/events", patience=0.1))


def test_stream_that_ends_early_is_opened_again(serve, connect):
    def handler(request) -> None:
        body = {"0": message(1), "1": b": still here\n\n"}.get(request.headers["Last-Event-ID"], b"")
        request.answer(200, body if len(server.requests) < 3 else END)

    server = serve(handler)
    assert [event.name for event in follow_events(connect(server), "/events")] == ["log", "end"]


def test_events_are_cut_at_line_feeds_alone():
    text = {"text": "a\u2028b\x85c\x0bd"}
    raw = f"retry: 1000\n\n: here\n\nid: 4\nevent: log\ndata: {json.dumps(text, ensure_ascii=False)}\n\nid: 5\nev"
    chunks = [raw.encode()[place : place + 3] for place in range(0, len(raw.encode()), 3)]
    assert list(parse_events(chunks)) == [StreamEvent("log", text, 4)]
