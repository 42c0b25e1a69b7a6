"""Recorded predictions become observations: in batches, with the plane's time, and without the agent's own samples."""

import json
from datetime import UTC, datetime, timedelta

from deepseek.agent.plane import observations as module
from deepseek.agent.serving.server_client import CHECK_ID, summarise_metrics
from tests.deepseek.agent.releases import make_release

AT = "2027-11-29T15:44:48+00:00"


def record(device, name, *ids):
    rows = [{"id": key, "at": AT, "model": "price", "version": 1, "answer": 1.0} for key in ids]
    (device.folder / "recorded" / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run_with_recording(device, plane, rate=1.0):
    plane.observations = {"source": "press-1", "task": "regression", "sampling_rate": rate}
    plane.assign(make_release(1), "1")
    return device.run().wait(10)


def test_rows_are_sent_and_their_files_removed(device, plane, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    run_with_recording(device, plane)
    record(device, "1.jsonl", "a", "b", f"c-{CHECK_ID}-0")
    record(device, "2.jsonl", "d")
    record(device, "3.jsonl.part", "e")
    device.wait(20)
    assert [row["id"] for row in plane.rows] == ["a", "b", "d"]
    assert [path.name for path in (device.folder / "recorded").iterdir()] == ["3.jsonl.part"]


def test_nothing_is_lost_while_the_plane_is_away(device, plane):
    run_with_recording(device, plane)
    record(device, "1.jsonl", "a")
    plane.away = 3
    for _ in range(4):
        device.wait(60)
    assert [row["id"] for row in plane.rows] == ["a"]


def test_a_clock_that_is_off_by_a_year_is_corrected(device, plane):
    """The plane refuses rows of next year; the difference of the two clocks is known from the heartbeat."""
    plane.now = (datetime.now(UTC) - timedelta(days=365)).isoformat()
    run_with_recording(device, plane)
    assert plane.receipts[0].release == device.current
    record(device, "1.jsonl", "a")
    device.wait(20)
    assert plane.rows[0]["at"].startswith("2026-11-29T15:44")


def keep_labels(device, **files):
    for name, ids in files.items():
        rows = "".join(f'{{"id": "{key}", "at": "{AT}", "label": 1}}\n' for key in ids)
        (device.folder / "labels" / f"{name}.jsonl").write_text(rows)


def test_labels_wait_for_the_plane_and_go_together(device, plane):
    """Whether or not the plane wants predictions now."""
    device.run()
    keep_labels(device, a="12", b="3")
    plane.away = 3
    for _ in range(4):
        device.wait(3600)
    assert [row["id"] for row in plane.labels] == ["1", "2", "3"]
    assert plane.requests["POST /observations/labels"] <= 4
    assert not list((device.folder / "labels").iterdir())


def test_a_label_that_is_refused_takes_none_with_it(device, plane):
    plane.now = (datetime.now(UTC) - timedelta(days=365)).isoformat()
    plane.refused_labels = {"2"}
    device.run()
    keep_labels(device, a="1", b="2", c="3")
    device.wait(20)
    assert [row["id"] for row in plane.labels] == ["1", "3"]
    assert plane.labels[0]["at"].startswith("2026-11-29T15:44"), "the clock of the device was a year ahead"
    assert [path.name for path in (device.folder / "labels").iterdir()] == ["b.refused"]


def test_another_share_needs_another_server_which_takes_over(device, plane):
    run_with_recording(device, plane, 0.5)
    assert [server.recording and server.recording.rate for server in device.factory.public] == [0.5]
    plane.set_poll(observations={"source": "press-1", "task": "regression", "sampling_rate": 0.1})
    device.wait(61)
    assert [server.recording.rate for server in device.factory.public if not server.ended] == [0.1]


def test_a_device_without_a_plane_does_not_fill_its_disk(device, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING_FILES", 2)
    device.run()
    for number in range(4):
        record(device, f"{number}.jsonl", "a")
    device.wait(10)
    assert sorted(path.name for path in (device.folder / "recorded").iterdir()) == ["2.jsonl", "3.jsonl"]


def test_figures_of_the_server():
    text = """
deepseek_serve_requests_total{model="a",protocol="predict",status="200"} 6
deepseek_serve_requests_total{model="a",protocol="predict",status="422"} 2
deepseek_serve_requests_total{model="a",protocol="predict",status="500"} 1
deepseek_serve_request_duration_seconds_sum{model="a"} 0.04
deepseek_serve_request_duration_seconds_count{model="a"} 8
deepseek_serve_rows_total{model="a"} 12
deepseek_serve_model_info{model="a",version="3"} 1
"""
    assert summarise_metrics(text) == {
        "requests_answered": 6,
        "requests_refused": 2,
        "requests_failed": 1,
        "rows_total": 12,
        "request_milliseconds_mean": 5.0,
    }
