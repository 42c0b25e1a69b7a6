"""A plan over two nodes without a shared folder; what is lost on the way, and what is not."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.execution import execute
from deepseek.clean.partitioned import PartitionedPlan
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.job import EngineError
from deepseek.partitions.carriers import WorkerLostError
from deepseek.partitions.csv_reading import read_in_ranges
from deepseek.partitions.nodes.carrier import NodesCarrier, RunningTasks
from deepseek.partitions.nodes.membership import Credentials, Membership
from deepseek.partitions.sources import partition_arrow, partition_parquet
from deepseek.tables.batches import TableBatches
from deepseek.tables.files import read_table
from deepseek.tables.spec import CsvSpec
from deepseek.torchrun.placement import Placement
from tests.planes_in_namespaces import await_that

pytest.importorskip("distributed")
STEPS = [
    {"kind": "filter", "conditions": [{"column": "k", "op": "gt", "value": "0"}]},
    {"kind": "fill_forward", "columns": ["x"], "limit": 3},
    {"kind": "outliers", "columns": ["x"], "method": "iqr", "action": "cap"},
    {"kind": "fill_group", "columns": ["y"], "by": ["k"]},
    {"kind": "deduplicate", "columns": ["k", "x"]},
]


def work(item):
    number, folder, lost = item
    if number == 1 and not Path(lost).exists():
        Path(lost).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        raise EngineError("bad_part", "The part {number} is bad.", number=number, field="inputs/table")
    if number == 9:
        time.sleep(60)
    path = Path(folder, f"part-{number}-{os.getpid()}")
    path.write_text(str(number))
    return path


def build_parts(nodes) -> list[Path]:
    """Three parts: nine rows in ten have one key, and the second part has no row."""
    rows = range(1200)
    table = pa.table(
        {
            "k": [1 if row % 10 else row % 97 for row in rows],
            "x": [None if row % 7 else float(row) for row in rows],
            "y": [None if row % 11 == 0 else float(row % 13) for row in rows],
        }
    )
    for name, part in {"a": table.slice(0, 700), "b": table.slice(0, 0), "c": table.slice(700)}.items():
        sink = pa.BufferOutputStream()
        pq.write_table(part, sink, row_group_size=100)
        top = nodes.copy(f"{name}.parquet", sink.getvalue().to_pybytes())["table"]
    return sorted(top.iterdir())


def test_a_cluster_that_does_not_start_in_time_is_said_to_be_that(tmp_path, monkeypatch):
    monkeypatch.setattr("deepseek.partitions.nodes.carrier.JOIN_SECONDS", 0)
    processes = SimpleNamespace(is_listening=lambda: False, has_lost_scheduler=False, is_given_up=False)
    membership = Membership(Placement(2, 0, "127.0.0.1", 1), Credentials(tmp_path))
    with pytest.raises(WorkerLostError, match="did not join within 0 s"):
        NodesCarrier(membership, processes, None, None)


class Future:
    """The future of a task that takes so many calls, or has failed."""

    def __init__(self, calls, status):
        self.calls, self.status = calls, status

    def result(self, timeout):
        self.calls -= 1
        if self.calls or self.status == "error":
            raise TimeoutError("of the task")
        return b"outcome"


def test_an_outcome_that_is_lost_with_its_worker_is_waited_for():
    checks = []
    client = SimpleNamespace(sync=lambda *args, **options: {}, scheduler=SimpleNamespace(processing=None))
    tasks = RunningTasks(SimpleNamespace(check=lambda: checks.append(1), client=client), work, [])
    assert tasks.fetch(Future(3, "finished")) == b"outcome"
    assert len(checks) == 2  # that the cluster is there
    with pytest.raises(TimeoutError, match="of the task"):
        tasks.fetch(Future(1, "error"))


def test_two_nodes_make_the_table_of_one(watched, nodes, tmp_path):
    parts = build_parts(nodes)
    steps = CleanSpec(steps=STEPS).steps
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    whole = execute(steps, TableBatches(table), StepContext(folder=tmp_path)).batches
    carrier = nodes.open()
    folder = nodes.scratch[0]
    result = PartitionedPlan(steps, partition_parquet(parts, 6), carrier, StepContext(folder=folder)).run()
    made = pa.concat_tables([pq.read_table(part.path) for part in result.parts])
    assert made.equals(pa.Table.from_batches(whole, whole.schema).select(["k", "x", "y"]))
    assert all(part.path.parent == folder for part in result.parts)
    assert any(path.name.startswith("written-") for path in nodes.scratch[1].iterdir())  # the second one's share
    assert set(watched.read_text().split()) == {"127.0.0.1"}

    # Both nodes read a CSV file, each its ranges of it.
    text = "k,t\n" + "\n".join(f'{row},"{row % 7}\n"' for row in range(5000))
    path = nodes.copy("table.csv", text.encode())["table"] / "table.csv"
    read = read_in_ranges(path, CsvSpec(), folder, carrier, 2, ranges=4)
    [source] = partition_arrow(read.files, read.schema, 1)
    assert pa.Table.from_batches(source.open()).equals(read_table(path, CsvSpec()))
    assert any(path.name.startswith("range-") for path in nodes.scratch[1].iterdir())

    # A worker is lost: its task runs again, and both places are taken again.
    lost, done = str(tmp_path / "lost"), []
    outcomes = carrier.run(work, [(number, folder, lost) for number in range(5)], done.append)
    assert [outcome.value and outcome.value.read_text() for outcome in outcomes] == ["0", "1", "2", None, "4"]
    assert outcomes[3].error.code == "bad_part"
    assert sorted(done) == [0, 1, 2, 3, 4]
    steps = nodes.observer.steps
    assert ("lose", 1) in steps or not any(step[0] == "lose" for step in steps)  # it may be done again before a look
    assert sorted(number for what, *numbers in steps if what == "finish" for number in numbers) == [0, 1, 2, 3, 4]
    await_that(lambda: any("SIGKILL): another is started" in line for line in nodes.report.lines))
    nodes.await_workers(2)

    # The scheduler is lost: the run ends, and the other node sees why.
    nodes.first.scheduler.kill()
    with pytest.raises(WorkerLostError, match=r"hands out the partitions .* has ended"):
        carrier.run(work, [(9, folder, lost)], done.append)
    await_that(lambda: nodes.second.has_lost_scheduler)
