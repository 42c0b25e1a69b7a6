"""One process with all that only a process has: TLS, tokens, slow clients, the control socket, a swap, and its end."""

import json
import signal
import socket
import ssl
import time

import httpx
import pytest

from tests.certificates import make_certificate
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import Process

ROW = [1, 2, 3, 4, 5]
TOKEN = "0123456789abcdef-process"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    for name, words in {"one": {"seed": 1}, "two": {"seed": 2}}.items():
        make_model(folder / name, task="classification", **words)
    (folder / "run").mkdir(mode=0o700)
    (folder / "tokens").write_text(TOKEN)
    make_certificate(folder / "service.pem")
    return folder


@pytest.fixture
def service(folder):
    words = ["--certificate", folder / "service.pem", "--token-file", folder / "tokens"]
    words += ["--admin-socket", folder / "run/admin.sock", "--record", folder / "recorded", "--body-seconds", "1"]
    service = Process(f"wti:1={folder / 'one'}", f"other={folder / 'two'}", *words)
    yield service
    service.kill()


@pytest.fixture
def client(service, folder):
    context = ssl.create_default_context(cafile=folder / "service.pem")
    with httpx.Client(base_url=service.address, verify=context, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


def connect(service, folder):
    """A TLS connection, to send what no client would."""
    host, port = service.address.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=folder / "service.pem")
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=20), server_hostname="127.0.0.1")


def trickle(connection, first):
    """Send `first`, then a byte every tenth of a second, until there is an answer."""
    connection.sendall(first)
    connection.settimeout(0.1)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        try:
            return connection.recv(1000)
        except TimeoutError:
            connection.sendall(b"x")
    return b""


def test_two_models_over_tls_with_a_token(service, client, folder):
    assert service.line.startswith("deepseek: serving 2 models (wti, other), on https://127.0.0.1:")
    answer = client.post("/predict", json={"features": ROW})
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "1")
    assert client.post("/models/other/predict", json={"features": ROW}).status_code == 200
    assert client.post("/predict", json={"features": ROW}, headers={"Authorization": "Bearer no"}).status_code == 401
    with pytest.raises(httpx.HTTPError):
        httpx.get(service.address.replace("https", "http") + "/healthz")
    assert (folder / "run/admin.sock").stat().st_mode & 0o777 == 0o600


def test_clients_that_are_too_slow_or_say_too_much(service, client, folder):
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 900\r\n\r\n"
    answers = {}
    with connect(service, folder) as slow_head, connect(service, folder) as slow_body:
        answers["head"] = trickle(slow_head, b"POST /predict HTTP/1.1\r\nX-")
        answers["body"] = trickle(slow_body, head.encode())
    with connect(service, folder) as long:
        long.sendall(b"GET / HTTP/1.1\r\nX-A: " + b"y" * 100_000)
        answers["long"] = long.recv(1000)
    found = {
        name: (answer[9:12], json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}")) for name, answer in answers.items()
    }
    codes = {name: (status, document["error"]["code"]) for name, (status, document) in found.items()}
    assert codes == {
        "head": (b"408", "request_too_slow"),
        "body": (b"408", "request_too_slow"),
        "long": (b"431", "headers_too_large"),
    }
    assert "deepseek_serve_slow_connections_total 2" in client.get("/metrics").text


def test_a_swap_and_the_end(service, client, folder):
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / "run/admin.sock")), base_url="http://x") as admin:
        answer = admin.put("/admin/models/wti", json={"folder": str(folder / "two"), "version": "2"})
        assert answer.json()["previous"] == "1"
        assert admin.get("/admin/status").json()["pid"] == service.process.pid
    answer = client.post("/predict", json={"features": ROW}, headers={"X-Request-Id": "last"})
    assert answer.headers["x-model-version"] == "2"
    code, errors = service.stop(signal.SIGTERM)
    assert code == 143
    assert "version 2 answers instead of 1" in errors
    assert errors.splitlines()[-1] == "deepseek: stopped"
    assert "Traceback" not in errors
    assert not (folder / "run/admin.sock").exists()
    lines = [line for path in (folder / "recorded").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert [json.loads(line)["version"] for line in lines if '-last",' in line] == [2]
