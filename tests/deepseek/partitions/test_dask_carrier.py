"""A Dask cluster under TLS carries a plan; a killed worker loses nothing, and a killed scheduler is reported."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.execution import execute
from deepseek.clean.partitioned import PartitionedPlan
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.job import EngineError
from deepseek.partitions.carriers import WorkerLostError
from deepseek.partitions.dask_carrier import ClusterAddress, DaskCarrier, validate_address
from deepseek.partitions.sources import partition_parquet
from deepseek.tables.batches import TableBatches
from tests.certificates import make_certificate

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]
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


class Cluster:
    """A scheduler and two workers, each a process of its own, under one certificate."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.certificate = make_certificate(folder / "plane.pem")
        self.start("scheduler", "--port", "0", "--scheduler-file", str(folder / "scheduler.json"), "--no-dashboard")
        for _ in range(2):
            self.start("worker", "--scheduler-file", str(folder / "scheduler.json"), "--nthreads", "1",
                       "--local-directory", str(folder), "--no-dashboard")  # fmt: skip

    def start(self, role, *options):
        files = ("--tls-ca-file", "--tls-cert", "--tls-key")
        tls = [text for option in files for text in (option, str(self.certificate))]
        command = [sys.executable, "-m", "distributed.cli.dask_" + role, "--host", "127.0.0.1", "--protocol", "tls"]
        with (self.folder / "log.txt").open("ab") as log:
            self.processes.append(
                subprocess.Popen([*command, *options, *tls], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                                 stdout=log, stderr=log)
            )  # fmt: skip

    @property
    def address(self):
        file = self.folder / "scheduler.json"
        for _ in range(300):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        return ClusterAddress(json.loads(file.read_text())["address"], *[self.certificate] * 3)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    yield started
    started.stop()


def test_a_cluster_carries_a_plan_and_outlives_a_worker(cluster, tmp_path):
    table = pa.table(
        {"k": [row % 97 for row in range(1000)], "x": [None if row % 7 else float(row) for row in range(1000)]}
    )
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=100)
    steps = CleanSpec(steps=STEPS).steps
    whole = execute(steps, TableBatches(table), StepContext(folder=tmp_path)).batches
    carrier = DaskCarrier(cluster.address)
    sources = partition_parquet([tmp_path / "table.parquet"], 5)
    result = PartitionedPlan(steps, sources, carrier, StepContext(folder=tmp_path)).run()
    parts = pa.concat_tables([pq.read_table(part.path) for part in result.parts])
    assert parts.equals(pa.Table.from_batches(whole, whole.schema).select(["k", "x"]))

    done = []
    outcomes = carrier.run(work, [(number, str(tmp_path)) for number in range(4)], done.append)
    assert (tmp_path / "lost").exists()
    assert [outcome.value for outcome in outcomes] == [0, 10, 20, 30]
    assert sorted(done) == [0, 1, 2, 3]

    cluster.processes[0].kill()
    with pytest.raises(WorkerLostError):
        carrier.run(work, [(9, str(tmp_path))], done.append)
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
