"""What the stock client wrote, into its own file store and by its own server, comes over whole."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from apps.ml.experiments.models import Experiment, LoggedModel, Metric, Run, RunModel
from apps.ml.registry.models import Alias, ModelVersion
from tests.ports import find_free_port

ENV = os.environ.get("MLFLOW_ENV", "")
FILL = Path(__file__).with_name("fill.py")
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.services,  # the tier that has MLFLOW_ENV
    pytest.mark.skipif(not ENV, reason="MLFLOW_ENV names no environment with mlflow"),
]
SECONDS = 120


def stock(*command: str, **more):
    environment = {"PATH": f"{ENV}/bin:/usr/bin:/bin", "HOME": "/tmp", "MLFLOW_ALLOW_FILE_STORE": "true"}
    return subprocess.Popen([f"{ENV}/bin/{command[0]}", *command[1:]], env=environment, text=True, **more)


def fill(uri: str) -> tuple[str, str]:
    process = stock("python", str(FILL), uri, stdout=subprocess.PIPE)
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    return tuple(out.split()[-2:])


@pytest.fixture
def server(tmp_path):
    port = find_free_port()
    at = ["--backend-store-uri", f"sqlite:///{tmp_path}/it.db", "--artifacts-destination", f"{tmp_path}/kept"]
    with (tmp_path / "log").open("w") as log:
        process = stock(
            "mlflow", "server", *at, "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def check(run, model):
    assert Metric.objects.get(run=run, key="train/loss").count == 2400
    assert Metric.objects.get(run=run, key="odd").count == 3
    files = set(Run.objects.get(pk=run).artifacts.values_list("path", flat=True))
    assert files == {"sub/with space & ü.txt", "empty.txt", "old/MLmodel", "old/data/w.bin"}
    assert Run.objects.count() == 5
    assert Run.objects.filter(deleted_at__isnull=False).count() == 2
    assert Experiment.objects.get(name="gone").deleted_at is not None
    assert LoggedModel.objects.get().artifacts.count() == 2
    assert set(RunModel.objects.values_list("direction", flat=True)) == {"input", "output"}
    assert list(ModelVersion.objects.order_by("number").values_list("number", flat=True)) == [1, 3]
    assert ModelVersion.objects.get(number=1).logged_model_id == model
    assert Alias.objects.get().name == "champion"


def test_a_file_store(take, tmp_path, settings):
    settings.PLANE_HOME = tmp_path / "home"
    run, model = fill(f"file://{tmp_path}/real")
    said = take(source=str(tmp_path / "real"))
    assert "differs" not in said
    check(run, model)
    assert take(source=str(tmp_path / "real")).count("differs") == 0


def test_a_server(take, server):
    run, model = fill(server)
    said = take(source=server)
    assert "differs" not in said
    check(run, model)
    assert take(source=server).count("differs") == 0
