"""Jobs over the operator's Dask cluster: from their submission, through the sandbox, to the table; the loss of a worker
or of the cluster; and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from types import SimpleNamespace

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.core.errors import Invalid
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from deepseek.clean.run import run as clean
from deepseek.clean.spec import CleanSpec
from deepseek.job import Silent
from deepseek.partitions import dask_carrier
from deepseek.partitions.cluster import CLUSTER
from deepseek.predict.run import run as predict
from deepseek.predict.spec import PredictSpec
from tests.certificates import make_certificate
from tests.dask_cluster import Cluster
from tests.planes_in_namespaces import await_that
from tests.workers.predictions.test_predict_job import build_table, data, model, put  # noqa: F401  fixtures
from workers import runner, tasks
from workers.cluster import attempt
from workers.scratch import wiping

pytest.importorskip("distributed")
pytestmark = pytest.mark.services
ROWS = 2000
PLAN = {
    "steps": [
        {"kind": "fill_forward", "columns": ["x"], "limit": 3},
        {"kind": "outliers", "columns": ["x"], "method": "iqr", "action": "cap"},
        {"kind": "deduplicate", "columns": ["k", "x"]},
    ],
    "partitions": 4,
}


@pytest.fixture
def table(project, worker, tmp_path):
    path = tmp_path / "table.parquet"
    values = [None if row % 7 == 0 else float(row % 311) for row in range(ROWS)]
    pq.write_table(pa.table({"k": [row % 97 for row in range(ROWS)], "x": values}), path)
    with get_store().open_staging() as staging:
        staging.write(path.read_bytes())
        digest, size = staging.publish()
    artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
    Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "table"})
    return path, [InputSpec(slot="table", digest=digest)]


@pytest.fixture
def shared(worker, settings, tmp_path):
    """The folder of a cluster that the worker knows; the cluster itself is not there."""
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o700)
    certificate = make_certificate(tmp_path / "dask.pem")
    certificate.chmod(0o600)
    update = {"cluster_address": "tls://10.0.0.5:8786", "cluster_folder": str(folder)}
    update |= dict.fromkeys(("cluster_authorities", "cluster_certificate"), str(certificate))
    settings.ENV = settings.ENV.model_copy(update=update)
    worker.node.extras = ["cluster"]
    worker.node.save()
    return folder


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A cluster for all tests of this file; Dask starts a worker that was killed anew."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(shared, started, settings, monkeypatch):
    update = dict.fromkeys(("cluster_authorities", "cluster_certificate"), str(started.certificate))
    settings.ENV = settings.ENV.model_copy(update={"cluster_address": started.address.url, **update})
    monkeypatch.setattr(attempt, "find_owner", lambda: None)  # its workers run as the user of the tests
    started.await_workers()
    return started


def run_next(job):
    tasks.run_next("cpu")
    job.refresh_from_db()


def read_parts(job):
    """The bytes of each part of the job's table."""
    outputs = job.outputs.filter(slot__startswith="table/").order_by("slot")
    return [b"".join(get_store().open(output.artifact_id)) for output in outputs]


def clean_here(path, out, plan=PLAN):
    """What one process makes of it."""
    clean(CleanSpec(**plan), inputs={"table": path}, out=out, report=Silent())
    return [part.read_bytes() for part in sorted((out / "table").iterdir())]


@pytest.mark.django_db(transaction=True)
def test_a_clusters_workers_share_a_job(submit, table, engine_processes, cluster, shared, tmp_path):
    path, inputs = table
    job = submit("clean", PLAN | {"cluster": True}, inputs=inputs)
    run_next(job)
    assert job.state == JobState.SUCCEEDED, job.error
    assert job.need_extra == "cluster"
    assert read_parts(job) == clean_here(path, tmp_path / "out")
    logged = JobEvent.objects.filter(job=job, kind="log")
    lines = [text for event in logged for _, _, text in event.payload["lines"]]
    assert any("the cluster tls://" in line for line in lines)
    assert list(shared.iterdir()) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("model", "engine_processes", "cluster")
def test_predictions_of_a_clusters_workers_are_those_of_one_process(submit, data, shared, tmp_path):  # noqa: F811
    rows = build_table()
    _, files = data("fleet", [rows.slice(0, 50), rows.slice(50, 20), rows.slice(70)])
    inputs = [InputSpec(slot=f"table/{path}", digest=artifact.digest) for path, artifact, _ in files]
    job = submit("predict", {"model": "fuel:v1", "cluster": True}, inputs=inputs)
    run_next(job)
    assert job.state == JobState.SUCCEEDED, job.error
    folder, out = tmp_path / "parts", tmp_path / "out"
    folder.mkdir()
    for path, artifact, _ in files:
        (folder / path).write_bytes(b"".join(get_store().open(artifact.digest)))
    here = {"table": folder, "model": tmp_path / "model/model.safetensors", "manifest": tmp_path / "model/model.json"}
    predict(PredictSpec(model="fuel:v1"), inputs=here, out=out, report=Silent())
    assert read_parts(job) == [part.read_bytes() for part in sorted((out / "table").iterdir())]
    assert list(shared.iterdir()) == []


def kill_busy_worker(cluster, *before):
    """KILL a worker of the cluster that holds a task: it is stopped before, so that it cannot end the task. The
    processes `before` are killed before it."""
    from distributed import Client

    security = dask_carrier.build_security(cluster.address)
    with Client(cluster.address.url, security=security, set_as_default=False) as client:
        client.wait_for_workers(2)
        worker, pid = next(iter(client.run(os.getpid).items()))
        await_that(lambda: any(client.processing().values()), pause=0.002)
        process = psutil.Process(pid)
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(0.5)  # what it had sent has arrived
            await_that(lambda: client.processing().get(worker))
            for each in before:
                each.kill()
        finally:
            process.kill()
    return True


@pytest.mark.django_db(transaction=True)
def test_a_job_outlives_a_worker_that_is_killed(submit, table, engine_processes, cluster, shared, tmp_path):
    path, inputs = table
    plan = PLAN | {"partitions": 12}  # enough tasks that the worker is stopped before they end
    job = submit("clean", plan | {"cluster": True}, inputs=inputs)
    killed = []
    killer = threading.Thread(target=lambda: killed.append(kill_busy_worker(cluster)))
    killer.start()
    run_next(job)
    killer.join()
    assert killed == [True]
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1), job.error
    assert read_parts(job) == clean_here(path, tmp_path / "out", plan)
    assert list(shared.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_the_next_attempt_after_a_killed_scheduler_makes_the_table(
    submit, table, engine_processes, cluster, shared, tmp_path
):
    path, inputs = table
    plan = PLAN | {"partitions": 12}
    job = submit("clean", plan | {"cluster": True}, inputs=inputs)
    killed = []
    killer = threading.Thread(target=lambda: killed.append(kill_busy_worker(cluster, cluster.processes[0])))
    killer.start()
    run_next(job)
    killer.join()
    assert killed == [True]
    assert (job.state, job.attempt, job.error["code"]) == (JobState.QUEUED, 1, "cluster_lost")
    assert list(shared.iterdir()) == []
    address = cluster.address
    cluster.restart()
    cluster.await_workers()
    assert cluster.address == address
    Job.objects.filter(pk=job.pk).update(not_before=None)
    run_next(job)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2), job.error
    assert read_parts(job) == clean_here(path, tmp_path / "out", plan)
    assert list(shared.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_is_away_is_named_and_the_job_tried_again(submit, table, shared, monkeypatch):
    monkeypatch.setattr(attempt, "find_owner", lambda: None)
    monkeypatch.setattr(dask_carrier, "CONNECT_SECONDS", 0.5)
    monkeypatch.setenv(CLUSTER, "tcp://127.0.0.1:9")  # the engine runs in this process
    job = submit("clean", PLAN | {"cluster": True}, inputs=table[1])
    run_next(job)
    assert (job.state, job.attempt, job.error["code"]) == (JobState.QUEUED, 1, "cluster_lost")
    assert "The cluster tcp://127.0.0.1:9 " in job.error["message"]
    assert "operator" in job.error["hint"]
    assert list(shared.iterdir()) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives a folder to others")
def test_a_job_runs_as_the_owner_of_the_folder_and_reaches_the_scheduler_alone(submit, table, shared, worker):
    _, inputs = table
    shutil.chown(shared, 1234, 1234)
    submit("clean", {"cluster": True}, inputs=inputs)
    claimed = tasks.claim_attempt(worker, "cpu")
    claimed.make_scratch()
    plan = claimed.plan(SimpleNamespace(number=0))
    if plan["sandbox"]["way"] == "none":
        pytest.skip("no sandbox here")
    assert plan["sandbox"]["user"] in (None, 1234)  # None: ENGINE_UID is 0
    assert plan["sandbox"]["scratch"].startswith(f"{shared}/")
    assert str(shared) in plan["sandbox"]["hide"]
    assert plan["connect"] == {"wanted": ["10.0.0.5:8786"], "allowed": ["10.0.0.5:8786"]}
    assert sorted(path.name for path in claimed.credentials.iterdir()) == ["authority.pem", "node.key", "node.pem"]
    claimed.remove_scratch()
    assert list(shared.iterdir()) == []
    assert not claimed.credentials.exists()


@pytest.mark.django_db(transaction=True)
def test_the_folders_go_though_a_late_task_writes_or_the_shared_one_is_away(submit, table, shared, worker, monkeypatch):
    submit("clean", {"cluster": True}, inputs=table[1])
    claimed = tasks.claim_attempt(worker, "cpu")
    claimed.make_scratch()
    late = [claimed.scratch / "written-late.parquet"]

    def remove(folder, **options):
        wiping.remove_scratch(folder, **options)
        while late:
            folder.mkdir()
            late.pop().touch()

    monkeypatch.setattr(runner, "remove_scratch", remove)
    claimed.remove_scratch()
    assert list(shared.iterdir()) == []
    claimed.make_scratch()
    claimed.scratch = shared / ("x" * 300)  # whose status is an error, as on a mount that is stale
    claimed.remove_scratch()
    assert not claimed.credentials.exists()


@pytest.mark.django_db
def test_a_cluster_that_no_node_knows_or_that_is_not_alone_is_refused(submit, table):
    _, inputs = table
    refused = {}
    for name, spec, needs in (
        ("unknown", {}, None),
        ("nodes", {}, Needs(nodes=2)),
        ("processes", {"processes": 2}, None),
    ):
        with pytest.raises(Invalid) as caught:
            submit("clean", {"cluster": True} | spec, inputs=inputs, needs=needs)
        refused[name] = {(error["code"], error["field"]) for error in caught.value.errors}
    assert ("extra_missing", "/spec/cluster") in refused["unknown"]
    assert ("one_node_only", "/needs/nodes") in refused["nodes"]
    assert ("spec_cluster_alone", "/spec/cluster") in refused["processes"]
