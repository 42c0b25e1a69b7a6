"""The shipped proxy holds slow clients away from the plane, and lets uploads and event streams through as they come."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.controlplane.web_server import read_all, running_server
from tests.ports import find_free_port

ROOT = Path(__file__).parents[2]
HEAD = b"%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx: .ci/run installs it")


class Application:
    """Keeps the paths that were asked for and the bodies as they came; /events sends a message and waits."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.first_bytes = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path == "/events":
            start_response("200 OK", [("Content-Type", "text/event-stream"), ("X-Accel-Buffering", "no")])
            return self.events()
        size = len(environ["wsgi.input"].read(1))
        self.first_bytes.set()
        size += len(environ["wsgi.input"].read())
        text = f"{path} {size}".encode()
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text]

    def events(self):
        yield b"event: one\n\n"
        self.may_end.wait(60)
        yield b"event: two\n\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", folder / "tls.key", "-out", folder / "tls.crt"], check=True, capture_output=True)
    return folder


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def proxy(application, certificate, tmp_path):
    """The port of nginx with the shipped file, in front of the web server."""
    port = find_free_port()
    with running_server(application, threads=8) as server:
        text = (ROOT / "deploy/nginx/plane.conf").read_text()
        for shipped, here in {
            " /tmp/": f" {tmp_path}/",
            "server web:8000": "server {}:{}".format(*server.address),
            "listen 8443": f"listen 127.0.0.1:{port}",
            "listen 8080": f"listen 127.0.0.1:{find_free_port()}",
            "/run/secrets/": f"{certificate}/",
            "worker_processes auto": "daemon off; worker_processes 1",
            "access_log /dev/stdout plane": "access_log off",
        }.items():
            assert shipped in text
            text = text.replace(shipped, here)
        (tmp_path / "nginx.conf").write_text(text)
        process = subprocess.Popen(["nginx", "-c", tmp_path / "nginx.conf"])
        try:
            wait_for(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None
            yield port
        finally:
            process.terminate()
            process.wait(60)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def send(port, data):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=60))
    client.sendall(data)
    return client


def ask(port, data):
    with send(port, data) as client:
        return read_all(client)


def test_half_requests_do_not_reach_the_plane(proxy, application):
    half = HEAD % (b"POST", b"/api/v1/projects/demo/jobs") + b"Content-Length: 9\r\n\r\n1"
    with ExitStack() as clients:
        for part in [HEAD % (b"GET", b"/"), half] * 30:
            clients.enter_context(send(proxy, part))
        began = time.monotonic()
        assert ask(proxy, HEAD % (b"GET", b"/healthz") + b"\r\n").endswith(b"/healthz 0")
        assert time.monotonic() - began < 30  # of 60
        whole = HEAD % (b"POST", b"/p/demo/jobs/new/noop") + b"Content-Length: 9\r\n\r\n123456789"
        assert ask(proxy, whole).endswith(b"noop 9")
        assert application.asked == ["/healthz", "/p/demo/jobs/new/noop"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/projects/demo/artifacts",
        "/api/v1/projects/demo/artifacts/" + "0" * 64,
        "/api/v1/projects/demo/datasets/x/versions",
        "/git/demo/x.git/git-receive-pack",
        "/git/demo/x.git/info/lfs/objects/" + "0" * 64,
        "/api/2.0/mlflow-artifacts/artifacts/demo/1/model.bin",
        "/api/2.0/mlflow/runs/log-inputs",
        "/p/demo/upload",
        "/p/demo/models/a model/1/evaluate",
        "/api/v1/projects/demo/received-bundles/1/volumes/2",
        "/p/demo/transfer/incoming/1",
    ],
)
def test_uploads_pass_as_they_come(proxy, application, path):
    head = HEAD % (b"PUT", path.replace(" ", "%20").encode()) + b"Content-Length: 40000000\r\n\r\n"
    with send(proxy, head + bytes(100_000)) as client:
        assert application.first_bytes.wait(60)
        for _ in range(39):
            client.sendall(bytes(1_000_000))
        client.sendall(bytes(900_000))
        assert read_all(client).endswith(f"{path} 40000000".encode())


def test_events_pass_as_they_come(proxy, application):
    with send(proxy, HEAD % (b"GET", b"/events") + b"\r\n") as client:
        got = b""
        while b"one" not in got:
            got += client.recv(4096)
        application.may_end.set()
        assert b"two" in read_all(client)


def test_log_ins_of_one_address_are_bounded(proxy):
    log_in = HEAD % (b"POST", b"/accounts/login/") + b"Content-Length: 0\r\n\r\n"
    statuses = [ask(proxy, log_in).split()[1] for _ in range(40)]
    assert statuses[:30] == [b"200"] * 30
    assert b"429" in statuses
    assert ask(proxy, HEAD % (b"GET", b"/accounts/login/") + b"\r\n").split()[1] == b"200"


def test_a_body_that_no_page_takes_is_refused(proxy, application):
    head = HEAD % (b"POST", b"/p/demo/jobs/new/noop") + b"Content-Length: 40000000\r\n\r\n"
    with send(proxy, head) as client:
        assert client.recv(100).split()[1] == b"413"
    assert application.asked == []
