"""A Dask cluster under TLS carries a plan; a killed worker loses nothing, and a killed scheduler is reported."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from deepseek.clean.execution import execute
from deepseek.clean.partitioned import PartitionedPlan
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.job import EngineError, TransientError
from deepseek.partitions import csv_reading, dask_carrier, running_tasks
from deepseek.partitions.cancellation import TaskCancelledError
from deepseek.partitions.cluster_address import ClusterAddress, validate_address
from deepseek.partitions.dask_carrier import DaskCarrier
from deepseek.partitions.nodes.job_carrier import count_workers
from deepseek.partitions.sources import partition_parquet
from deepseek.partitions.tables import open_partitions
from deepseek.tables.batches import TableBatches
from deepseek.tables.spec import CsvSpec
from tests.dask_cluster import Cluster
from tests.planes_in_namespaces import await_that

pytest.importorskip("distributed")
STEPS = [
    {"kind": "filter", "conditions": [{"column": "k", "op": "gt", "value": "0"}]},
    {"kind": "fill_forward", "columns": ["x"], "limit": 3},
    {"kind": "outliers", "columns": ["x"], "method": "iqr", "action": "cap"},
    {"kind": "deduplicate", "columns": ["k"]},
]


def work(item):
    number, folder = item
    lost = Path(folder, "lost")
    if number == 1 and not lost.exists():
        lost.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 9:
        time.sleep(60)
    return number * 10


def read_on(item):
    source, folder = item
    Path(folder, "begun").touch()
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline:
            pa.Table.from_batches(source.open())
    except TaskCancelledError:
        Path(folder, "cancelled").touch()
        raise


def lose_connection(folder, probe):
    from distributed.comm import CommClosedError

    raise CommClosedError("Stream is closed")  # what a client has of a worker that ended meanwhile


@pytest.fixture
def cluster(tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.stop()


def test_a_cluster_carries_a_plan_and_outlives_a_worker(cluster, tmp_path, monkeypatch):
    table = pa.table(
        {"k": [row % 97 for row in range(1000)], "x": [None if row % 7 else float(row) for row in range(1000)]}
    )
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=100)
    steps = CleanSpec(steps=STEPS).steps
    whole = execute(steps, TableBatches(table), StepContext(folder=tmp_path)).batches
    carrier = DaskCarrier(cluster.address)
    carrier.client.wait_for_workers(2)
    assert (carrier.require_workers(tmp_path), count_workers(carrier, 1)) == (2, 2)
    assert list(tmp_path.glob(".probe-*")) == []
    with monkeypatch.context() as patch:  # a worker of another user
        patch.setattr(dask_carrier, "take_probe", lambda name: f"Permission denied: {name}")
        with pytest.raises(EngineError) as caught:
            carrier.require_workers(tmp_path)
    assert (caught.value.code, "CLUSTER_FOLDER" in caught.value.hint) == ("cluster_unfit", True)
    assert f"as user {os.geteuid()}, cannot use the files of one another" in str(caught.value)
    for answer, error, message in (
        (lambda folder: {}, EngineError, "its version of this package is another one"),  # that of a version before
        (lose_connection, TransientError, "all of its workers have ended"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(dask_carrier, "describe_worker", answer)
            with pytest.raises(error, match=message):
                carrier.require_workers(tmp_path)
    monkeypatch.setattr(csv_reading, "MIN_BYTES_IN_RANGES", 1)
    pyarrow.csv.write_csv(table, tmp_path / "table.csv")
    read = open_partitions(tmp_path / "table.csv", CsvSpec(), tmp_path, None, count_workers(carrier, 1), carrier)
    assert [type(source).__name__ for source in read.sources] == ["ArrowPieces"] * 2  # read in ranges of bytes
    tables = [pa.Table.from_batches(source.open()) for source in read.sources]
    assert pa.concat_tables(tables).cast(table.schema).equals(table)

    sources = partition_parquet([tmp_path / "table.parquet"], 5)
    result = PartitionedPlan(steps, sources, carrier, StepContext(folder=tmp_path)).run()
    parts = pa.concat_tables([pq.read_table(part.path) for part in result.parts])
    assert parts.equals(pa.Table.from_batches(whole, whole.schema).select(["k", "x"]))

    done = []
    outcomes = carrier.run(work, [(number, str(tmp_path)) for number in range(4)], done.append)
    assert (tmp_path / "lost").exists()
    assert [outcome.value for outcome in outcomes] == [0, 10, 20, 30]
    assert sorted(done) == [0, 1, 2, 3]

    monkeypatch.setattr(dask_carrier, "compute_code_digest", lambda: "of this side alone")
    codes = {outcome.error.code for outcome in carrier.run(work, [(0, str(tmp_path))] * 2, done.append)}
    assert codes == {"cluster_unfit"}  # as of a worker that joined after the run began
    monkeypatch.undo()

    # Runs at the same time: two of one plan and table, and one of another plan.
    labels = ["node-7-1", "node-8-1", "node-9-1"]
    others = [DaskCarrier(cluster.address, label=label) for label in labels]
    futures = [other.submit(work, (0, "")) for other in (*others, others[0])]
    keys = [future.key for future in futures]
    assert [key.rpartition("-")[0] for key in keys] == [f"work-{label}" for label in (*labels, labels[0])]
    assert len(set(keys)) == 4
    plans = [steps, steps, steps[:2]]

    def run_plan(place):
        (folder := tmp_path / labels[place]).mkdir()
        ran = PartitionedPlan(plans[place], sources, others[place], StepContext(folder=folder)).run()
        assert {part.path.parent for part in ran.parts} == {folder}
        return pa.concat_tables([pq.read_table(part.path) for part in ran.parts])

    with ThreadPoolExecutor(3) as pool:
        one, two, other = pool.map(run_plan, range(3))
    assert one.equals(parts)
    assert two.equals(parts)
    shorter = execute(plans[2], TableBatches(table), StepContext(folder=tmp_path)).batches
    assert other.equals(pa.Table.from_batches(shorter, shorter.schema).select(["k", "x"]))
    for each in others:
        each.close()

    leaving = DaskCarrier(cluster.address)
    future = leaving.submit(read_on, (sources[0], str(tmp_path)))
    await_that((tmp_path / "begun").exists)
    leaving.close()
    await_that((tmp_path / "cancelled").exists)
    del future

    scheduler = cluster.processes[0]
    scheduler.send_signal(signal.SIGSTOP)  # its connections stay
    monkeypatch.setattr(running_tasks, "ANSWER_SECONDS", 0.5)
    with pytest.raises(TransientError, match="does not answer within"):
        carrier.run(work, [(0, str(tmp_path))], done.append)
    monkeypatch.undo()
    scheduler.kill()
    await_that(lambda: carrier.client.status != "running")
    monkeypatch.setattr(carrier.client.rpc, "timeout", 1)  # in the place of CONNECT_SECONDS
    with pytest.raises(TransientError, match=rf"{cluster.address.url} .* connection to its scheduler"):
        carrier.run(work, [(9, str(tmp_path))], done.append)

    def fail(*_, **options):
        raise ValueError("IOStream is not idle; cannot convert to SSL")  # of a client that connects anew

    monkeypatch.setattr(running_tasks.RunningTasks, "list_running", fail)
    with pytest.raises(TransientError, match="connection to its scheduler"):
        carrier.run(work, [(0, str(tmp_path))], done.append)
    with monkeypatch.context() as context:
        context.setattr(carrier.client, "close", fail)
        carrier.close()
    carrier.close()


def test_an_address_without_tls_beyond_this_host_is_refused(tmp_path):
    refused = {
        "tcp://10.0.0.5:8786": "cluster_not_encrypted",
        "tls://10.0.0.5:8786": "cluster_certificate_missing",
        "http://127.0.0.1:8786": "cluster_address_invalid",
        "tls://10.0.0.5": "cluster_address_invalid",
        "tcp://127.0.0.1:port": "cluster_address_invalid",
    }
    codes = {}
    for url in refused:
        with pytest.raises(EngineError) as caught:
            validate_address(ClusterAddress(url))
        codes[url] = caught.value.code
    assert codes == refused
    validate_address(ClusterAddress("tcp://127.0.0.1:8786"))
