"""Predictions that are recorded: which, what of them, and what is left after a kill."""

import fcntl
import hashlib
import io
import json
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from deepseek.models.predictor import load_predictor
from deepseek.serve import recorder as module
from deepseek.serve.app import create_app
from deepseek.serve.recorder import PredictionRecorder, is_sampled
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import load_models

ROWS = [[1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1]]
URL = "/v2/models/wti/infer"
TENSOR = {"name": "features", "shape": [2, 5], "datatype": "FP32", "data": ROWS}


@pytest.fixture
def record(tmp_path):
    """A client of a service that records, and what it recorded."""
    make_model(tmp_path / "wti", task="classification")

    def record(**words):
        recorder = PredictionRecorder(tmp_path / "recorded", **words)
        client = TestClient(create_app(load_models(tmp_path / "wti"), recorder=recorder))
        return client, lambda: recorder.close() or read_rows(tmp_path / "recorded")

    return record


def read_rows(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_each_row_with_its_id_version_and_answer(record, tmp_path):
    client, finish = record()
    own = client.post("/predict", json={"features": ROWS[0]}, headers={"X-Request-Id": "mine:1"})
    drawn = client.post("/predict", json={"features": ROWS})
    named = client.post(URL, json={"id": "v2-7", "inputs": [TENSOR]})
    refused = client.post("/predict", json={"features": []})
    key = drawn.headers["x-prediction-id"]
    assert "x-prediction-id" not in refused.headers
    first, third = own.headers["x-prediction-id"], named.headers["x-prediction-id"]
    assert (first[28:], third[28:]) == ("-mine:1", "-v2-7")
    rows = finish()
    assert [row["id"] for row in rows] == [first, f"{key}-0", f"{key}-1", f"{third}-0", f"{third}-1"]
    assert [row["features"] for row in rows] == [ROWS[0], *ROWS, *ROWS]
    places = load_predictor(tmp_path / "wti").predict(np.array(ROWS, np.float32)).argmax(1)
    assert [row["answer"] for row in rows[1:3]] == [("no", "yes")[place] for place in places]
    assert {(row["model"], row["variant"], row["shadow"]) for row in rows} == {("wti", "fp32", False)}
    assert {row["version"] for row in rows} == {own.headers["x-model-version"]}
    assert all(row["latency_ms"] > 0 for row in rows)
    assert not list(tmp_path.glob("recorded/*.part"))


def test_a_share_by_id_and_digests(record):
    client, finish = record(rate=0.3, keep="digest")
    client.app.recorder._prefix = "0" * 16
    keys = [f"{place:028x}-same" for place in range(60)]
    answers = [client.post("/predict", json={"features": ROWS[0]}, headers={"X-Request-Id": "same"}) for _ in keys]
    chosen = [key for key in keys if is_sampled(key, 0.3)]
    assert 0 < len(chosen) < 60
    assert [answer.headers["x-prediction-id"] for answer in answers if "x-prediction-id" in answer.headers] == chosen
    rows = finish()
    assert [row["id"] for row in rows] == chosen
    assert {row["features_digest"] for row in rows} == {hashlib.sha256(np.float32(ROWS[0]).tobytes()).hexdigest()}
    assert not any("features" in row for row in rows)


def test_a_share_of_the_rows_of_a_request(record):
    client, finish = record(rate=0.3)
    keys = [client.post("/predict", json={"features": ROWS * 4}).headers.get("x-prediction-id") for _ in range(10)]
    expected = [f"{key}-{place}" for key in keys if key for place in range(8) if is_sampled(f"{key}-{place}", 0.3)]
    assert len(expected) > 8
    assert [row["id"] for row in finish()] == expected


def test_what_waits_is_bounded_by_bytes(record, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 30_000)
    monkeypatch.setattr(module, "WRITE_SECONDS", 60)
    client, finish = record(keep="digest")
    time.sleep(0.01)
    for _ in range(4):
        client.post("/predict", json={"features": ROWS * 200})
    recorder = client.app.recorder
    assert all(len(one.prediction.inputs.rows) == 256 and not one.prediction.body for one in recorder._waiting)
    assert all(one.prediction.inputs.rows.base is None for one in recorder._waiting)
    assert (len(finish()), recorder.dropped) == (3 * 256, 3 * (400 - 256) + 400)


def test_what_fails_once_is_recorded_again_after_it(record, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "WRITE_SECONDS", 60)
    client, finish = record()
    recorder, handler = client.app.recorder, client.app.repository.default.current.handler
    client.post("/predict", json={"features": ROWS})
    recorder._write()
    next(tmp_path.glob("recorded/*.part")).unlink()
    recorder._complete()
    with monkeypatch.context() as patch:
        patch.setattr(handler, "list_answers", lambda outputs: [1 / 0])
        client.post("/predict", json={"features": ROWS})
        recorder._write()
    client.post("/predict", json={"features": ROWS[0]})
    assert [row["features"] for row in finish()] == [ROWS[0]]
    assert (recorder.recorded, recorder.dropped) == (3, 2)
    assert "is lost" in caplog.text
    assert "is not recorded" in caplog.text


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path):
    class Full(io.FileIO):
        def write(self, data):
            if len(data) > 20:
                return super().write(data[:20])
            raise OSError(28, "no room")

    recorder = PredictionRecorder(tmp_path)
    recorder._write_lines([b"{}\n"])
    recorder._segment = Full(recorder._segment_path, "r+")
    recorder._segment.seek(0, 2)
    with pytest.raises(OSError, match="no room"):
        recorder._write_lines([b"[" + b" " * 30 + b"]\n"])
    recorder._write_lines([b"{}\n"])
    recorder.close()
    assert read_rows(tmp_path) == [{}, {}]


def test_no_number_that_json_lacks_is_recorded(record, monkeypatch):
    client, finish = record()
    predictor = client.app.repository.default.current.handler.predictor
    monkeypatch.setattr(predictor, "_predict", lambda rows: np.full((len(rows), 2), np.nan, np.float32))
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    answer = client.post(URL, json={"inputs": [TENSOR], "outputs": outputs})
    assert (answer.status_code, finish()) == (400, [])


def test_what_there_is_no_room_for_is_counted(record, monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1)
    client, finish = record(limit_bytes=300)
    for _ in range(20):
        client.post("/predict", json={"features": ROWS})
    recorder = client.app.recorder
    rows = finish()
    assert 0 < len(rows) < 40
    assert (recorder.recorded, recorder.recorded + recorder.dropped) == (len(rows), 40)


def test_a_replica_that_starts_meanwhile_leaves_a_new_file_alone(tmp_path, monkeypatch):
    recorder, lock = PredictionRecorder(tmp_path), fcntl.flock

    def start_another(*words):
        monkeypatch.setattr(fcntl, "flock", lock)
        module.complete_segments(tmp_path)
        lock(*words)

    monkeypatch.setattr(fcntl, "flock", start_another)
    recorder._write_lines([b"{}\n"])
    recorder.close()
    assert read_rows(tmp_path) == [{}]


def test_files_of_a_killed_process_are_completed(tmp_path):
    (tmp_path / "1.jsonl.part").write_bytes(b'{"id": 1}\n{"id": 2}\n{"id"')
    running = PredictionRecorder(tmp_path)
    running._open()
    other = PredictionRecorder(tmp_path)
    assert read_rows(tmp_path) == [{"id": 1}, {"id": 2}]
    assert [path.name for path in tmp_path.glob("*.part")] == [running._segment_path.name]
    running.close()
    other.close()
