"""The client against a live test server, and against a stand-in that breaks connections."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.platform.jobs import streams
from deepseek.client import Plane
from deepseek.client.transport import PlaneTransport
from tests.apps.ml.registry.conftest import (  # noqa: F401  fixtures
    default_experiment,
    forms,
    held,
    registered,
    store_files,
)
from tests.apps.platform.jobs.conftest import (  # noqa: F401  fixtures
    claim,
    fail,
    node,
    rung,
    running,
    say,
    submit,
    succeed,
)

TOKEN = "dso_of-the-stand-in"
Handler = Callable[["StandIn"], None]


@pytest.fixture(autouse=True)
def _quick_and_alone(monkeypatch):
    """Streams poll quickly, and nothing of this machine's own environment is read."""
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(streams, "WAIT_POLL_SECONDS", 0.02)
    monkeypatch.setattr(streams, "STOPPING", threading.Event())
    for name in ("DEEPSEEK_URL", "DEEPSEEK_TOKEN", "DEEPSEEK_CA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli(deepseek, live_server, make_token, engineer, tmp_path):
    """cli(*words, who=engineer) -> the end of the command line, with a token of that person."""

    def run(*words: object, who=engineer, **env: str):
        token = who if isinstance(who, str) else make_token(who)[0]
        return deepseek(
            *words, env={"DEEPSEEK_URL": live_server.url, "DEEPSEEK_TOKEN": token, "HOME": str(tmp_path)} | env
        )

    return run


@pytest.fixture
def plane(live_server, make_token, engineer):
    """The Python client, with a token of the engineer."""
    with Plane(live_server.url, make_token(engineer)[0]) as client:
        yield client


@pytest.fixture
def say_end():
    """say_end(run, code, *parts): check the exit code, and that standard error names these parts and no token."""

    def check(run: Any, code: int, *parts: str) -> None:
        assert run.returncode == code, run.stderr
        assert "Traceback" not in run.stderr
        assert "dso_" not in run.stdout + run.stderr.replace("tokens begin with dso_", "")
        for part in parts:
            assert part in run.stderr

    return check


class StandIn(http.server.BaseHTTPRequestHandler):
    """One request to the stand-in; `handler` of the server answers it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        self.server.handler(self)

    do_POST = do_PUT = do_GET

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def break_off(self, body: bytes, **headers: str) -> None:
        """Send this much of an answer, and close the connection."""
        self.answer(200, body, **headers)
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Any]]:
    """serve(handler, tls=None) -> a server with `url` and `requests`, whose requests `handler` answers."""
    servers = []

    def start(handler: Handler, tls: ssl.SSLContext | None = None) -> Any:
        server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
        server.daemon_threads, server.handler, server.requests = True, handler, []
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect():
    """connect(server, patience=0.0) -> a PlaneTransport to it."""
    return lambda server, **options: PlaneTransport(server.url, TOKEN, **options)
