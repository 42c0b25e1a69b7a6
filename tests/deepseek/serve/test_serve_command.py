"""``deepseek serve``: a process that is started, sent requests over a real socket and stopped; and its refusals."""

import signal
import socket
import sys
import threading

import pytest

from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import Process

ROW = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """One service for the tests that leave it as it is; its stop is checked after the last of them."""
    folder = tmp_path_factory.mktemp("model")
    make_model(folder, task="classification")
    service = Process(folder, "--max-rows", "4")
    try:
        yield service
        assert service.stop() == (143, "deepseek: stopped\n")
    finally:
        service.kill()


def test_serve(service):
    assert service.line.startswith("deepseek: serving fp32, a classification, on http://127.0.0.1:")
    status, document = service.ask("/predict", {"features": ROW})
    assert (status, len(document["prediction"])) == (200, 2)
    assert service.ask("/healthz") == (200, {"status": "ok"})
    assert service.ask("/predict", {"features": [ROW] * 5})[0] == 413
    assert service.ask("/predict", b"nonsense")[0] == 400


def test_a_body_far_above_the_limit_gets_its_answer(service):
    assert service.ask("/predict", b"x" * 100_000_000)[0] == 413
    chunks = (b"x" * 100_000 for _ in range(200))
    assert service.ask("/predict", chunks)[0] == 413
    assert service.ask("/predict", {"features": ROW})[0] == 200


def test_many_requests_at_once(service):
    status, answer = service.ask("/predict", {"features": ROW})
    got = []
    threads = [
        threading.Thread(target=lambda: got.extend(service.ask("/predict", {"features": ROW}) for _ in range(10)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (status, [each for each, _answer in got]) == (200, [200] * 80)
    # Rows that come together are computed together, which may round the last bit otherwise.
    for _status, other in got:
        assert other["prediction"] == pytest.approx(answer["prediction"], rel=1e-6)


def test_transfers_that_break_off_or_never_end_do_not_hold_up_the_stop(serve, tmp_path):
    make_model(tmp_path)
    service = serve(tmp_path)
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as broken:
        broken.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    with socket.create_connection((host, int(port))) as nonsense:
        nonsense.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert b" 400 " in nonsense.recv(1000)
    assert service.ask("/predict", {"features": ROW})[0] == 200
    with socket.create_connection((host, int(port))) as stuck:
        stuck.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert service.ask("/healthz")[0] == 200  # the other was taken before it
        code, errors = service.stop()
    assert code == 143
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "deepseek: stopped"


def test_interrupted(serve, tmp_path):
    make_model(tmp_path)
    assert serve(tmp_path).stop(signal.SIGINT) == (130, "deepseek: stopped\n")


def test_a_port_that_is_taken(deepseek, tmp_path):
    make_model(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = deepseek("serve", ".", "--port", port)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"deepseek: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_folder_that_is_no_model(deepseek, tmp_path):
    run = deepseek("serve", "absent")
    assert run.returncode == 2
    assert "absent is no folder of a model" in run.stderr
    make_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"changed")
    run = deepseek("serve", ".")
    assert run.returncode == 2
    assert "other bytes than its manifest names" in run.stderr


@pytest.mark.parametrize("words", [["--port", "65536"], ["--port", "x"], ["--threads", "0"], ["--max-rows", "-1"], []])
def test_flags_at_fault(deepseek, words):
    run = deepseek("serve", *(["."] if words else []), *words)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_package_that_is_not_installed(deepseek, tmp_path, monkeypatch, package):
    make_model(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("app", "service", "server"):  # they are imported again, and fail
        monkeypatch.delitem(sys.modules, f"deepseek.serve.{module}", raising=False)
    run = deepseek("serve", ".")
    assert run.returncode == 2
    assert f"{package} is not installed" in run.stderr
    assert "pip install fastapi uvicorn" in run.stderr
