"""The stock MLflow client and server stand in an environment of their own: MLFLOW_ENV names its folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mlflow import servers
from tests.mlflow.environment import python_of

HERE = Path(__file__).parent
MADE = os.environ.get("MLFLOW_ENV", "")
AGAINST = os.environ.get("MLFLOW_AGAINST", "")  # an `mlflow server`: to see that the tests hold of what is imitated
LACKS = "MLFLOW_ENV names no environment of the MLflow client: `make mlflow` makes one, .ci/run does both"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.fspath).parent == HERE and "mlflow_env" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("mlflow"))
            if not MADE:
                item.add_marker(pytest.mark.skip(reason=LACKS))


@pytest.fixture(scope="session")
def mlflow_env() -> Path:
    return Path(MADE).resolve()


@pytest.fixture(scope="session")
def reference(tmp_path_factory, mlflow_env):
    with servers.reference(tmp_path_factory.mktemp("reference") / "server", mlflow_env) as server:
        yield server


@pytest.fixture(scope="session")
def plane(tmp_path_factory, mlflow_env):
    """A plane with its web part; on the database server of the run, if it has one."""
    if AGAINST:
        yield servers.Server(AGAINST)
        return
    home = tmp_path_factory.mktemp("mlflow-plane") / "home"
    with servers.database(os.environ.get("DATABASE_URL", "")) as settings, servers.plane(home, **settings) as server:
        yield server


@dataclass(frozen=True)
class Said:
    """What a script of the client put into `said`, and the calls that it made."""

    values: dict[str, Any]
    calls: list[str]
    printed: str

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


ADDRESS = re.compile(r"/api/[23]\.0/(mlflow/)?(mlflow-artifacts/)?")
NAMES = ((r"\bm-[0-9a-f]{32}", "MODEL"), (r"\b[0-9a-f]{32}", "RUN"), (r"/\d+/(?=RUN|models)", "/EXP/"))


def shortened(call: list) -> str:
    """["POST", "/api/2.0/mlflow/runs/get?run_id=...", 200] -> "GET runs/get"; the status if it is not 200."""
    verb, path, status = call
    path = ADDRESS.sub("", path.partition("?")[0], count=1)
    for pattern, name in NAMES:
        path = re.sub(pattern, name, path)
    return f"{verb} {path}" + (f" {status}" if status != 200 else "")


@pytest.fixture(scope="session")
def client_process(mlflow_env, tmp_path_factory):
    environment = servers.plain_environment(
        HOME=str(tmp_path_factory.mktemp("client-home")),
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",  # an answer of 500 fails the test now, not in minutes
        MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT="1",  # s; it would load each model once more, in a process of its own
        GIT_PYTHON_REFRESH="quiet",
    )
    command = [python_of(mlflow_env), "-P", HERE / "client_process.py"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()  # it owns nothing, and its libraries take seconds to say goodbye
    process.wait(20)


@pytest.fixture
def client(client_process, plane, tmp_path):
    """client("script", TOKEN=...) -> Said. The script has mlflow, torch, lightning, np, pd and `said`."""
    count = iter(range(100))

    def run(script: str, *, token: str | None = None, **environment: str) -> Said:
        folder = tmp_path / f"script-{next(count)}"
        folder.mkdir()
        told = {"MLFLOW_TRACKING_URI": plane.address} | environment
        secret = plane.token if token is None else token
        if secret:
            told["MLFLOW_TRACKING_TOKEN"] = secret
        task = {"script": textwrap.dedent(script), "environment": told, "folder": str(folder)}
        client_process.stdin.write(json.dumps(task) + "\n")
        client_process.stdin.flush()
        status = client_process.stdout.readline().strip()
        printed = (folder / "printed.txt").read_text()
        assert status == "0", printed
        calls = [shortened(call) for call in json.loads((folder / "calls.json").read_text())]
        return Said(json.loads((folder / "said.json").read_text()), calls, printed)

    return run
