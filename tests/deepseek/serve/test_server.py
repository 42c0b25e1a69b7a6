"""The end of the process, and the bounds on connections."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from starlette.testclient import TestClient

from deepseek.serve import server
from deepseek.serve.deadlines import MIN_BYTES_PER_SECOND, ConnectionDeadlines
from deepseek.serve.server import end_threads
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import open_service


def test_the_end_waits_for_no_prediction(monkeypatch):
    codes, gate, begun = [], threading.Event(), threading.Event()
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(server, "THREAD_NAMES", ("of this test",))  # other tests leave threads too
    idle, busy = (ThreadPoolExecutor(1, thread_name_prefix="of this test") for _ in range(2))
    idle.submit(int).result(10)
    end_threads([idle], 143)
    assert codes == []
    running = busy.submit(lambda: begun.set() or gate.wait(20))
    waiting = busy.submit(gate.wait, 20)
    assert begun.wait(10)
    end_threads([busy], 143)
    gate.set()
    assert (codes, waiting.cancelled(), running.result(10)) == ([143], True, True)


def test_more_connections_than_there_may_be(tmp_path):
    make_model(tmp_path / "wti")
    app = open_service(tmp_path / "wti", max_connections=2)
    client = TestClient(app)
    app.connections = range(2)
    assert client.get("/healthz").status_code == 200
    app.connections = range(3)
    for path in ("/predict", "/v2/health/live"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert "connections" in str(answer.json()["error"])


def test_a_body_has_no_more_time_than_the_longest_that_is_taken(tmp_path):
    make_model(tmp_path / "wti")
    app = open_service(tmp_path / "wti", max_rows=4)
    deadlines = ConnectionDeadlines((), 20, app.find_body_limit)
    for path in ("/predict", "/models/wti/predict", "/v2/models/wti/infer", "/elsewhere"):
        scope = {"path": path, "headers": [(b"content-length", b"256000000")]}
        limit = deadlines._compute_limit("body", SimpleNamespace(scope=scope))
        assert limit == 20 + app.find_body_limit(path) / MIN_BYTES_PER_SECOND < 21
