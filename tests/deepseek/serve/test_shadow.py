"""A candidate in shadow: its answers are compared, and no caller gets or waits for one."""

import threading
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from deepseek.models.predictor import load_predictor
from deepseek.serve.admin import create_admin_app
from deepseek.serve.app import create_app, create_executor
from deepseek.serve.options import ServeOptions
from deepseek.serve.swapping import ModelSwapper
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import load_models

ROWS = np.random.default_rng(0).normal(size=(20, 5)).round(3)
OPTIONS = ServeOptions(at_once=1)


@pytest.fixture
def started(tmp_path):
    """A service of one model with another in its shadow."""
    make_model(tmp_path / "wti", task="classification", seed=1)
    make_model(tmp_path / "second", task="classification", seed=2)
    service = create_app(load_models(tmp_path / "wti"), OPTIONS)
    admin = TestClient(create_admin_app(service, ModelSwapper(service.repository, OPTIONS, create_executor(OPTIONS))))
    assert admin.put("/admin/models/wti/shadow", json={"folder": str(tmp_path / "second")}).status_code == 200
    return service, admin


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_agreement_is_counted_and_the_answers_stay_those_of_the_version_served(started, tmp_path):
    service, admin = started
    ours, theirs = (load_predictor(tmp_path / name).predict(ROWS.astype(np.float32)) for name in ("wti", "second"))
    client = TestClient(service)
    answers = [client.post("/predict", json={"features": [row]}).json()["prediction"][0] for row in ROWS.tolist()]
    np.testing.assert_allclose(answers, ours, rtol=1e-5)
    shadow = service.repository.default.shadow
    wait_until(lambda: shadow.rows == 20)
    counts = admin.get("/admin/status").json()["models"][0]["shadow"]
    assert counts["agreed"] == int((ours.argmax(1) == theirs.argmax(1)).sum()) < 20
    assert counts["largest_difference"] == pytest.approx(float(np.abs(ours - theirs).max()), rel=1e-4)
    assert f'shadow_agreed_total{{model="wti",version="{counts["version"]}"}} {counts["agreed"]}' in (
        client.get("/metrics").text
    )
    assert admin.delete("/admin/models/wti/shadow").json()["shadow"]["rows"] == 20
    client.post("/predict", json={"features": ROWS.tolist()})
    assert admin.get("/admin/status").json()["models"][0]["shadow"] is None


def test_what_waits_is_bounded_by_bytes(started, monkeypatch):
    service, _ = started
    shadow, gate = service.repository.default.shadow, threading.Event()
    monkeypatch.setattr("deepseek.serve.shadow.MAX_WAITING_BYTES", 3200)
    monkeypatch.setattr(shadow.candidate.handler, "predict", lambda rows: gate.wait(10) and 1 / 0)
    client = TestClient(service)
    for _ in range(5):
        client.post("/predict", json={"features": ROWS.tolist()})
    gate.set()
    assert shadow.dropped == 2 * 20
    wait_until(lambda: shadow.failed == 3 * 20)
    assert shadow._added_bytes == shadow._taken_bytes


def test_a_candidate_that_hangs_or_fails_harms_nobody(started, monkeypatch):
    service, _ = started
    shadow, gate = service.repository.default.shadow, threading.Event()
    real = shadow.candidate.handler.predict
    monkeypatch.setattr(shadow.candidate.handler, "predict", lambda rows: gate.wait(10) and real(rows[:, :2]))
    client = TestClient(service)
    for _ in range(100):
        assert client.post("/predict", json={"features": ROWS[:1].tolist()}).status_code == 200
    assert shadow.dropped >= 100 - 66
    gate.set()
    wait_until(lambda: shadow.failed + shadow.dropped == 100)
    assert shadow.rows == 0
