"""A server's runs come page by page, whatever the network does, and no secret shows."""

from __future__ import annotations

import pytest

from apps.gateways.mlflow_import import transport
from apps.gateways.mlflow_import.models import ImportedRun
from apps.ml.experiments.models import Experiment, LoggedModel, Metric, Run
from apps.ml.registry.models import Alias, ModelVersion
from apps.platform.artifacts.stores import get_store
from tests.apps.gateways.mlflow_import.conftest import MODEL
from tests.apps.gateways.mlflow_import.server import API, PROXY, FakeServer

pytestmark = pytest.mark.django_db
RUNS = [letter * 32 for letter in "abc"]
HISTORY = f"{API}/metrics/get-history"


def run_row(run_id, metrics=(), status="FINISHED", **more):
    uri = f"mlflow-artifacts:/7/{run_id}/artifacts"
    info = {"run_id": run_id, "run_uuid": run_id, "run_name": f"run {run_id[0]}", "experiment_id": "7"}
    info |= {"user_id": "ada", "status": status, "start_time": 1700000000000, "lifecycle_stage": "active"}
    info |= {"end_time": "1700000005000", "artifact_uri": uri}
    newest = [{"key": key, "value": 1.0, "timestamp": 1, "step": "2"} for key in metrics]
    return {"info": info, "data": {"metrics": newest, "params": [{"key": "lr", "value": "0.1"}]}, **more}


@pytest.fixture
def fake(monkeypatch, settings, tmp_path):
    settings.PLANE_HOME = tmp_path / "home"
    monkeypatch.setattr(transport, "FIRST_PAUSE_SECONDS", 0)
    for name in ("TOKEN", "USERNAME", "PASSWORD", "SERVER_CERT_PATH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    server = FakeServer()
    answers = server.answers
    row = {"experiment_id": "7", "name": "iris", "lifecycle_stage": "active", "creation_time": 1700000000000}
    answers[f"{API}/experiments/search", ""] = {"experiments": [row]}
    first = {"runs": [run_row(RUNS[0], ["loss"]), run_row(RUNS[1])], "next_page_token": "two"}
    answers[f"{API}/runs/search", "7|"] = first
    answers[f"{API}/runs/search", "7|two"] = {"runs": [run_row(RUNS[2])]}
    points = [{"key": "loss", "value": value, "timestamp": n, "step": n} for n, value in enumerate([1, "NaN", 0.5])]
    answers[HISTORY, "loss|"] = {"metrics": points[:2], "next_page_token": "more"}
    answers[HISTORY, "loss|more"] = {"metrics": points[2:]}
    answers[f"{API}/registered-models/search", ""] = {}
    server.listings[f"7/{RUNS[0]}/artifacts"] = [{"path": "sub", "is_dir": True}]
    server.listings[f"7/{RUNS[0]}/artifacts/sub"] = [{"path": "a b#ü.bin", "is_dir": False, "file_size": "5"}]
    server.bytes[f"{PROXY}/7/{RUNS[0]}/artifacts/sub/a b#ü.bin"] = b"hello"
    yield server
    server.close()


@pytest.fixture
def go(fake, take):
    return lambda *options, status=0, url="": take(*options, status=status, source=url or fake.url)


def test_pages_and_files_come_whole(go):
    go()
    assert set(Run.objects.values_list("pk", flat=True)) == set(RUNS)
    metric = Metric.objects.get()
    assert (metric.count, metric.value, metric.step) == (3, 0.5, 2)
    assert list(metric.points.order_by("id").values_list("is_nan", flat=True)) == [False, True, False]
    file = Run.objects.get(pk=RUNS[0]).artifacts.get()
    assert (file.path, b"".join(get_store().open(file.artifact_id))) == ("sub/a b#ü.bin", b"hello")


def test_a_second_import_asks_for_no_points_of_what_has_ended(go, fake):
    go()
    fake.seen.clear()
    go()
    assert HISTORY not in [path for path, _ in fake.seen]
    assert f"{PROXY}/7/{RUNS[0]}/artifacts/sub/a b#ü.bin" not in [path for path, _ in fake.seen]


def test_models_and_versions_come(go, fake):
    uri = f"mlflow-artifacts:/7/models/{MODEL}/artifacts"
    info = {"model_id": MODEL, "experiment_id": "7", "name": "net", "status": "LOGGED_MODEL_READY"}
    info |= {"creation_timestamp_ms": "1700000000000", "source_run_id": RUNS[0], "artifact_uri": uri}
    metric = {"key": "acc", "value": 0.9, "timestamp": 1, "step": 1, "run_id": RUNS[0]}
    fake.answers[f"{API}/logged-models/search", "7|"] = {"models": [{"info": info, "data": {"metrics": [metric]}}]}
    fake.listings[f"7/models/{MODEL}/artifacts"] = [{"path": "MLmodel", "is_dir": False, "file_size": 2}]
    fake.bytes[f"{PROXY}/7/models/{MODEL}/artifacts/MLmodel"] = b"{}"
    fake.answers[f"{API}/registered-models/search", ""] = {"registered_models": [{"name": "Iris"}]}
    aliases = [{"alias": "champion", "version": "1"}]
    fake.answers[f"{API}/registered-models/get", "Iris|"] = {"registered_model": {"name": "Iris", "aliases": aliases}}
    row = {"version": "1", "source": f"models:/{MODEL}", "model_id": MODEL, "run_id": RUNS[0]}
    fake.answers[f"{API}/model-versions/search", ""] = {"model_versions": [row]}
    go()
    assert LoggedModel.objects.get().metrics.get().value == 0.9
    version = ModelVersion.objects.get()
    assert (version.logged_model_id, version.run_id) == (MODEL, RUNS[0])
    assert Alias.objects.get().version == version


@pytest.mark.parametrize("path", [f"{API}/experiments/search", f"{API}/runs/search", HISTORY])
def test_a_busy_server_is_asked_again(go, fake, path):
    fake.fail(path, (429, {"Retry-After": "0"}, "{}"), (503, {}, "<html>"), "cut")
    go()
    assert Metric.objects.get().count == 3


def test_retry_after_is_obeyed_up_to_a_minute(fake):
    pauses = []
    asked = transport.Transport(fake.url, transport.ServerLogin(), pauses.append)
    path = f"{API}/experiments/search"
    fake.fail(path, (429, {"Retry-After": "7"}, "{}"), (429, {"Retry-After": "4000"}, "{}"))
    assert asked.fetch_json(path)["experiments"]
    assert pauses == [7.0, 60.0]


def test_a_server_that_goes_away_ends_it_and_the_next_import_goes_on(go, fake):
    fake.fail(f"{API}/runs/search", None, *[(503, {}, "{}")] * transport.MAX_REQUEST_TRIES)
    said = go(status=2)
    assert "cannot be reached: it answers 503" in said
    assert "it goes on from what is here" in said
    assert Run.objects.count() == 2
    go()
    assert Run.objects.count() == 3
    assert ImportedRun.objects.filter(complete=True).count() == 3


def test_a_file_that_is_cut_off_comes_again(go, fake):
    path = f"{PROXY}/7/{RUNS[0]}/artifacts/sub/a b#ü.bin"
    fake.fail(path, "cut")
    go()
    assert Run.objects.get(pk=RUNS[0]).artifacts.get().size == 5


def test_a_file_that_never_comes_whole_is_named(go, fake):
    fake.bytes[f"{PROXY}/7/{RUNS[0]}/artifacts/sub/a b#ü.bin"] = b"short"[:3]
    said = go(status=1)
    assert f"run {RUNS[0]}: sub/a b#ü.bin: 5 bytes were announced and 3 came" in said
    assert not Run.objects.get(pk=RUNS[0]).artifacts.exists()


@pytest.mark.parametrize("listed", ["../../etc", "", "a/../../b"])
def test_a_listing_that_leads_elsewhere_is_named(go, fake, listed):
    fake.listings[f"7/{RUNS[0]}/artifacts"] = [{"path": listed, "is_dir": False, "file_size": 1}]
    assert f"run {RUNS[0]}: " in go(status=1)
    assert not Run.objects.get(pk=RUNS[0]).artifacts.exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_log_in_ends_with_status_2(go, fake, status, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret")
    fake.fail(f"{API}/experiments/search", (status, {}, "{}"))
    said = go(status=2)
    assert "The server refuses the log-in" in said
    assert "s3cret" not in said


def test_a_name_and_password_win_over_a_token(go, fake, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    go()
    assert {header for _, header in fake.seen} == {"Bearer t"}
    fake.seen.clear()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "u")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p")
    go()
    assert {header for _, header in fake.seen} == {"Basic dTpw"}


def test_a_secret_in_the_address_is_refused(go, fake):
    said = go(status=2, url=fake.url.replace("http://", "http://user:s3cret@"))
    assert "Give the log-in by MLFLOW_TRACKING_TOKEN" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "fault", [(200, {}, "<html>"), (200, {}, "[]"), (404, {}, "no"), (302, {"Location": "http://127.0.0.1:9/"}, "")]
)
def test_what_is_no_mlflow_server(go, fake, fault):
    fake.fail(f"{API}/experiments/search", fault)
    assert "does not answer as an MLflow server does" in go(status=2)
    assert not Experiment.objects.exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"info": {}}, "it lacks"),
        ({"info": 7}, "run"),
        (run_row("a" * 31), "its id is not of 32 hex digits"),
        (run_row("d" * 32, status="LOST"), "'lost' is no status"),
        (run_row("d" * 32, data={"params": [{"key": "k", "value": "\x00"}]}), "holds a NUL character"),
        (run_row("d" * 32, data={"params": [{"key": "k", "value": "\ud800"}]}), "is no Unicode text"),
    ],
)
def test_a_broken_run_is_named_and_the_others_come(go, fake, row, said):
    fake.answers[f"{API}/runs/search", "7|two"]["runs"].append(row)
    assert said in go(status=1)
    assert set(Run.objects.values_list("pk", flat=True)) == set(RUNS)


def test_a_page_that_gives_itself_has_an_end(go, fake):
    fake.answers[HISTORY, "loss|more"]["next_page_token"] = "more"
    assert "gives the same page again and again" in go(status=1)


def test_a_dry_run_counts_and_writes_nothing(go):
    said = go("--dry-run")
    assert "points                             3               0  differs" in said
    assert not Experiment.objects.exists()
