"""From the bytes of two pipes to events: in order, flushed together, and never spoiled by what an engine prints."""

from __future__ import annotations

import json

import pytest

from deepseek.messages import Message, record_messages, restore_message
from workers import relay
from workers.relay import Relay, explain_failure


@pytest.fixture
def written(monkeypatch) -> list:
    """What report_events was told: (events, snapshot)."""
    told: list = []
    monkeypatch.setattr(
        relay.services, "report_events", lambda *, actor, job, events, **snapshot: told.append((events, snapshot))
    )
    return told


@pytest.fixture
def fresh(written):
    class Row:
        pk, log_lines, need_nodes = 1, 0, 1

    return Relay(Row(), actor=None)


def line(**event) -> bytes:
    return json.dumps(event).encode() + b"\n"


def test_a_line_cut_in_two_reads_is_one_event(fresh):
    data = line(event="log", text="whole", level="info")
    fresh.take_events(data[:7])
    fresh.take_events(data[7:])
    assert fresh.lines[0][1:] == ["info", "whole"]


def test_prints_become_log_lines_and_what_is_left_counts_at_the_end(fresh):
    fresh.take_prints(b"one\ntwo")
    fresh.take_rest()
    assert [entry[2] for entry in fresh.lines] == ["one", "two"]


def test_usage_is_reported_once(fresh, written):
    fresh.take_events(line(event="usage", peak_memory_bytes=5, cpu_seconds=0.5, seconds=1, more="x"))
    fresh.flush()
    fresh.flush()
    used = {"peak_memory_bytes": 5, "cpu_seconds": 0.5, "seconds": 1}
    assert [events for events, _ in written] == [[("usage", used)]]


@pytest.mark.parametrize(
    "garbage", [b"not json\n", b"[1, 2]\n", b'{"no": "event"}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"]
)
def test_garbage_on_the_event_pipe_is_a_warning_line(fresh, garbage):
    fresh.take_events(garbage)
    assert fresh.lines[0][1] == "warning"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1e308", "1" * 4000])
def test_no_number_reaches_the_database_that_its_json_refuses(fresh, written, number):
    fresh.stage_began = (-1.0, "", 0)
    fresh.take_events(b'{"event": "progress", "done": %s, "total": 1e308}\n' % number.encode())
    fresh.take_events(b'{"event": "metric", "name": "loss", "value": %s}\n' % number.encode())
    fresh.flush()
    json.dumps([payload for _, payload in written[0][0]], allow_nan=False)


@pytest.mark.parametrize("at", [b"1e300", b"-1e12", b'"now"', b"null", b"[1]"])
def test_a_time_that_is_none_becomes_now(fresh, at):
    fresh.take_events(b'{"event": "log", "text": "x", "at": %s}\n' % at)
    assert fresh.lines[0][2] == "x"


def test_an_engine_that_never_ends_its_line_fills_no_memory(fresh, monkeypatch):
    monkeypatch.setattr(relay, "EVENT_LIMIT", 1000)
    for _ in range(50):
        fresh.take_events(b"x" * 100)
        fresh.take_prints(b"y" * 1000)
    assert max(len(fresh._events), len(fresh._prints)) <= relay.LINE_LIMIT
    assert "left out" in fresh.lines[0][2]


def test_it_is_full_when_the_database_takes_nothing(fresh):
    fresh.take_prints(b"x\n" * relay.BACKLOG)
    assert fresh.is_full()
    fresh.flush()
    assert not fresh.is_full()


@pytest.mark.parametrize("wrong", [{}, {"path": 1}, {"path": ""}, {"step": -1}, {"step": "7"}, {"step": 2**63}])
def test_a_checkpoint_without_a_path_or_a_step_is_none(fresh, wrong):
    fresh.take_events(line(event="checkpoint", path="/scratch/a", step=1))
    fresh.take_events(line(**{"event": "checkpoint", "path": "/scratch/b", "step": 2, **wrong}))
    assert fresh.checkpoint == (("/scratch/a", 1) if wrong else ("/scratch/b", 2))


def test_nul_never_reaches_the_database(fresh):
    fresh.take_prints(b"a\x00b\n")
    assert "\x00" not in fresh.lines[0][2]


def test_a_flush_numbers_the_lines_from_where_the_last_one_ended(fresh, written):
    fresh.take_prints(b"1\n2\n")
    fresh.flush()
    fresh.take_prints(b"3\n")
    fresh.flush()
    assert [events[0][1]["first"] for events, _ in written] == [1, 3]
    assert written[-1][1] == {"log_lines": 3}


def test_only_the_newest_progress_of_a_flush_is_written(fresh, written):
    for done in range(100):
        fresh.take_events(line(event="progress", done=done, total=100, unit="rows", stage="read"))
    fresh.flush()
    assert [kind for kind, _ in written[0][0]] == ["progress"]
    assert written[0][1]["progress"]["done"] == 99


def test_what_an_earlier_attempt_did_is_no_speed_of_this_one(fresh, monkeypatch):
    for now, done in ((10.0, 5000), (20.0, 5100)):
        monkeypatch.setattr(relay.time, "monotonic", lambda now=now: now)
        told = fresh.estimate({"done": done, "total": 10_000, "unit": "steps", "stage": "train"})
    assert (told["rate"], told["eta_seconds"]) == (10, 490)


def test_a_failed_write_is_sent_again_by_the_next_flush(fresh, monkeypatch, written):
    fresh.take_prints(b"1\n")
    keep = relay.services.report_events
    monkeypatch.setattr(relay.services, "report_events", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fresh.flush()
    monkeypatch.setattr(relay.services, "report_events", keep)
    fresh.flush()
    assert written[0][0][0][1]["lines"][0][2] == "1"


def test_a_kill_for_want_of_memory_is_named(fresh):
    fresh.memory_ran_out = True
    assert explain_failure(128 + 9, fresh)[0]["code"] == "out_of_memory"


def test_a_runaway_log_is_cut_with_a_word(fresh, monkeypatch):
    monkeypatch.setattr(relay, "LOG_LIMIT", 3)
    fresh.take_prints(b"x\n" * 10)
    assert len(fresh.lines) == 3
    assert "keeps 3 lines" in fresh.lines[-1][2]


@pytest.mark.parametrize(
    ("code", "event", "named", "retry"),
    [
        (1, {"event": "error", "code": "unknown_column", "message": "no"}, "unknown_column", False),
        (2, {"event": "crash", "code": "engine_crashed", "message": "no"}, "engine_crashed", True),
        (2, {"event": "crash", "code": "out_of_memory", "message": "no"}, "out_of_memory", True),
        (1, {"event": "crash", "code": "cluster_lost", "message": "no", "hint": "Wait."}, "cluster_lost", True),
        (128 + 9, None, "engine_killed", True),
        (128 + 11, None, "engine_crashed", True),
        (-9, None, "engine_killed", True),
        (7, None, "engine_crashed", True),
    ],
)
def test_how_an_engine_ended_names_the_error_and_whether_to_try_again(fresh, code, event, named, retry):
    if event:
        fresh.take_events(line(**event))
    error, again = explain_failure(code, fresh)
    assert (error["code"], again) == (named, retry)
    assert error["message"]
    assert error.get("hint") == (event or {}).get("hint", error.get("hint"))


def nested(levels: int) -> dict:
    record = {"message": "It failed."}
    for _ in range(levels):
        record = {"message": "It failed.", "msgid": "{cause}", "params": {"cause": record}}
    return record


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x" * 3_000_000, "msgid": "{a}", "params": {"a": "x" * 3_000_000}},
        {"message": {"a": 1}, "msgid": ["{a}"], "params": [1]},
        {"message": "It failed.", "limit": ["x" * 1000] * 1000, "hint": 5},
        nested(300),
        {"message": "It failed.", "limit": nested(300), "hint": nested(300)},
    ],
)
@pytest.mark.parametrize("event", ["error", "crash"])
def test_an_error_keeps_no_more_than_a_page_can_show(fresh, event, error):
    fresh.take_events(line(event=event, code="odd", **error))
    kept, _ = explain_failure(2, fresh)
    assert len(json.dumps(record_messages(kept))) < 12_000
    assert isinstance(restore_message(kept), str)
    assert kept["code"] == "odd"


def test_an_error_keeps_the_id_and_values_of_its_message(fresh):
    message = Message("Column {column!r} has {count} missing values.", column="a", count=3)
    fresh.take_events(line(**record_messages({"event": "error", "code": "missing", "message": message})))
    found = restore_message(explain_failure(2, fresh)[0])
    assert (found, found.msgid, found.params) == (message, message.msgid, message.params)


def test_the_state_of_partitions_is_bounded(fresh):
    """Whole numbers and short lists of them, and nothing of a state that is none."""
    state = {"done": 1, "total": 4, "rows": 10, "total_rows": 40, "running": [2, "x", 3], "again": [3] * 1000, "x": "y"}
    event = {"event": "progress", "done": 1, "total": 4, "unit": "parts", "stage": "write", "partitions": state}
    expected = {"done": 1, "total": 4, "rows": 10, "total_rows": 40, "running": [2, 3], "again": [3] * 64}
    assert fresh.estimate(event)["partitions"] == expected
    for garbage in ("text", {}, {"done": True}, {**state, "rows": -1}):
        assert "partitions" not in fresh.estimate({**event, "partitions": garbage})
