"""What the machine did is kept with the run, apart from what it learned, and never costs a job anything."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from apps.ml.experiments.models import Run
from apps.platform.jobs import kinds as job_kinds
from workers import heartbeat, kinds, tasks
from workers.measurements import system_metrics
from workers.measurements.system_metrics import SystemMetrics, count_seconds, measure_gpus, measure_node, measure_tree

GPU = {"index": 1, "busy": 0.5, "memory_free_bytes": 3_000_000, "memory_bytes": 4_000_000, "temperature": 61}
LOAD = {
    "cpu_share": 0.25,
    "memory_total_bytes": 8_000_000,
    "memory_free_bytes": 6_000_000,
    "disk_total_bytes": 100_000_000,
    "disk_free_bytes": 25_000_000,
    "gpus": [GPU | {"index": 0}, GPU],
}


class Recorder:
    """A tracker that keeps what it is told, or fails with what it is given."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.run = SimpleNamespace(started_at=datetime.now(UTC))
        self.points: list[dict] = []
        self.failure = failure

    def log(self, points) -> None:
        if self.failure:
            raise self.failure
        self.points += points


@pytest.fixture
def sampler():
    def make(failure=None, devices=(1,)) -> SystemMetrics:
        return SystemMetrics(SimpleNamespace(pk=1, devices=list(devices)), Recorder(failure), os.getpid())

    return make


def test_node_load_has_mlflow_names():
    assert dict(measure_node(LOAD)) == {
        "cpu_utilization_percentage": 25.0,
        "system_memory_usage_megabytes": 2.0,
        "system_memory_usage_percentage": 25.0,
        "disk_usage_megabytes": 75.0,
        "disk_usage_percentage": 75.0,
        "disk_available_megabytes": 25.0,
    }


def test_only_gpus_of_the_job():
    assert dict(measure_gpus(LOAD, [1])) == {
        "gpu_1_utilization_percentage": 50.0,
        "gpu_1_memory_usage_megabytes": 1.0,
        "gpu_1_memory_usage_percentage": 25.0,
        "gpu_1_temperature_celsius": 61,
    }
    assert not dict(measure_gpus(LOAD, []))


def test_gpu_without_readings(sampler):
    one = sampler()
    one.offer(LOAD | {"gpus": [GPU | {"busy": None, "temperature": None}]})
    one.advance()
    assert {p["name"] for p in one.tracker.points if "gpu" in p["name"]} == {
        "system/gpu_1_memory_usage_megabytes",
        "system/gpu_1_memory_usage_percentage",
    }


def test_process_tree_use():
    seconds, resident = measure_tree(os.getpid())
    assert seconds > 0
    assert resident > 10_000_000
    assert measure_tree(2**22 + 1) == (0.0, 0)


def test_process_load_is_in_percent_of_one_cpu(sampler, monkeypatch):
    monkeypatch.setattr(system_metrics, "measure_tree", lambda pid: (3.0, 5_000_000))
    metrics = sampler()
    metrics.sampled_at = 100.0
    sample = dict(metrics.measure_processes(104.0))
    assert sample == {"process_cpu_utilization_percentage": 75.0, "process_memory_usage_megabytes": 5.0}


def test_each_node_load_is_sampled_once(sampler):
    one = sampler()
    one.advance()
    assert not one.tracker.points
    one.offer(LOAD)
    one.advance()
    names = [point["name"] for point in one.tracker.points]
    assert "system/process_memory_usage_megabytes" in names
    assert len(names) == len(set(names)) == 14
    one.advance()
    assert len(one.tracker.points) == 14


def test_samples_of_long_run_are_sparser(sampler):
    one = sampler()
    one.began -= 72_000  # 20 hours: one each 100 s
    one.sampled_at -= 99
    one.offer(LOAD)
    one.advance()
    assert not one.tracker.points
    one.sampled_at -= 2
    one.advance()
    assert one.tracker.points


@pytest.mark.parametrize("failure", [OperationalError("away"), KeyError("surprise")])
def test_failure_costs_only_the_sample(sampler, failure):
    one = sampler(failure)
    one.offer(LOAD)
    one.advance()
    assert one.load is None


def test_untracked_attempt_has_no_samples(sampler):
    one = sampler()
    one.tracker.run = None
    one.offer(LOAD)
    one.advance()
    assert not one.tracker.points


def test_clock_behind_start_gives_second_zero():
    assert count_seconds(datetime(2026, 1, 1, tzinfo=UTC), 0) == 0


@pytest.mark.django_db(transaction=True)
def test_worker_records_samples_outside_of_digest(worker, submit, monkeypatch, engine_processes):
    monkeypatch.setattr(heartbeat, "NODE_SECONDS", 0.0)
    monkeypatch.setattr(heartbeat, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(system_metrics, "read_network_bytes", lambda: (1, 1))
    tracked = replace(job_kinds.KINDS["noop"], tracked=True, outputs=("figures",), registers=("experiment",))
    monkeypatch.setitem(job_kinds.KINDS, "noop", tracked)
    monkeypatch.setitem(kinds.ENGINE, "noop", "tests.workers.measurer:run")
    job = submit(spec={"seconds": 1})  # dozens of polls: one that ends at once may end before the first
    tasks.run_next("cpu")
    run = Run.objects.get(job=job)
    told = {metric.key: metric for metric in run.metrics.filter(key__startswith="system/")}
    assert told["system/process_memory_usage_megabytes"].highest > 1
    assert 0 < told["system/system_memory_usage_percentage"].value <= 100
    assert run.metrics_count == sum(m.count for m in run.metrics.exclude(key__startswith="system/"))
    monkeypatch.setattr(heartbeat, "NODE_SECONDS", 1000.0)
    again = submit(spec={"seconds": 0})
    tasks.run_next("cpu")
    assert Run.objects.get(job=again).metrics_digest == run.metrics_digest
