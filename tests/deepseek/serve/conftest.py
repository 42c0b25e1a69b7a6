"""A client of the service in this process, and the service as its own process."""

import asyncio
import json
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from starlette.testclient import TestClient

from deepseek.serve.app import create_app, create_executor
from deepseek.serve.loading import load_model
from deepseek.serve.options import ModelSource, ServeOptions
from tests.deepseek.conftest import SCRIPT
from tests.deepseek.models.making import make_model


def open_service(*folders, executor=None, **options):
    """The service of the models in the folders, each named as its folder; `options` as of ServeOptions."""
    options = ServeOptions(**{"at_once": 1, **options})
    return create_app(load_models(*folders, options=options, executor=executor), options)


def load_models(*folders, options=None, executor=None):
    options = options or ServeOptions(at_once=1)
    executor = executor or create_executor(options)
    return [load_model(ModelSource(folder.name, folder), options, executor) for folder in folders]


def in_event_loop():
    """Whether the caller runs in one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def client(tmp_path):
    """Make a model of 5 inputs, and give a client of its service; words as of `make_model`, or limits."""

    def client(*, max_rows=8, raising=True, **words):
        make_model(tmp_path / "model", **words)
        app = open_service(tmp_path / "model", max_rows=max_rows)
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
    """``deepseek serve`` as a person runs it, on a free port. `script`: the command in its place."""

    def __init__(self, *words, script=(SCRIPT,)):
        self.process = subprocess.Popen(
            [*script, "serve", *map(str, words), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A suite started in the background has SIGINT ignored, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.line = self.process.stdout.readline()
        assert "://" in self.line, self.process.communicate()
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
