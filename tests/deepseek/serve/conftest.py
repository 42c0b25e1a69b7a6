"""A client of the service in this process, and the service as its own process."""

import json
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from starlette.testclient import TestClient

from deepseek.models.predictor import load_predictor
from deepseek.serve.app import create_app
from tests.deepseek.conftest import SCRIPT
from tests.deepseek.models.making import make_model


@pytest.fixture
def client(tmp_path):
    """Make a model of 5 inputs, and give a client of its service; words as of `make_model`, or of `create_app`."""

    def client(*, max_rows=8, raising=True, **words):
        make_model(tmp_path / "model", **words)
        app = create_app(load_predictor(tmp_path / "model"), max_rows=max_rows)
        return TestClient(app, raise_server_exceptions=raising)

    return client


@pytest.fixture
def refused():
    """Check a refusal: status, code, and the one shape. Gives its first error."""

    def refused(answer, status, code):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
        first = answer.json()["error"]
        errors = first.pop("errors")
        assert first == errors[0]
        assert set(first) == {"code", "message", "field", "limit", "hint"}
        assert first["code"] == code
        assert first["message"].endswith(".")
        return first

    return refused


class Process:
    """``deepseek serve`` as a person runs it, on a free port."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [SCRIPT, "serve", *map(str, words), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A suite started in the background has SIGINT ignored, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.line = self.process.stdout.readline()
        assert "http://" in self.line, self.process.communicate()
        self.address = self.line.split()[-1]

    def ask(self, path, body=None, **headers):
        """Status and document. A body is sent as it is, or as JSON, or in chunks if it is an iterator."""
        data = (
            body if body is None or isinstance(body, bytes) or hasattr(body, "__next__") else json.dumps(body).encode()
        )
        request = urllib.request.Request(self.address + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self, number=signal.SIGTERM):
        """Exit code, and what it wrote to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    def kill(self):
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def serve():
    """Start services that end with the test."""
    started = []

    def serve(*words):
        started.append(Process(*words))
        return started[-1]

    yield serve
    for service in started:
        service.kill()
