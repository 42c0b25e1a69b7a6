"""Counters of several processes: one scrape tells of all, and they never fall when a worker is replaced."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from controlplane import request_metrics
from controlplane.env import BASE_DIR

WORKER = """
import sys
from pathlib import Path
from controlplane import request_metrics
request_metrics.take_slot(int(sys.argv[1]))
told = request_metrics.get_counters()
told.requests.labels("home", "GET", "2xx").inc(float(sys.argv[2]))
told.seconds.labels("home").observe(0.02)
told.streams.inc(3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(request_metrics.FOLDER, "")
    request_metrics.reset_counters(tmp_path)
    return tmp_path / "metrics"


def work(slot: int, count: float) -> None:
    """A worker of its own process, from its first request to its end."""
    subprocess.run([sys.executable, "-c", WORKER, str(slot), str(count)], check=True, cwd=BASE_DIR, env=os.environ)


def told(name: str) -> float:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    samples = [sample for family in registry.collect() for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples)


def test_a_scrape_tells_of_every_process(folder):
    work(0, 2)
    work(1, 5)
    assert told("plane_http_requests_total") == 7
    assert told("plane_http_request_seconds_count") == 2


def test_a_worker_that_replaces_another_goes_on_with_its_numbers(folder):
    work(0, 2)
    request_metrics.release_slot(0)
    assert (told("plane_http_requests_total"), told("plane_http_streams_open")) == (2, 0)
    work(0, 3)
    assert (told("plane_http_requests_total"), told("plane_http_streams_open")) == (5, 3)
    assert len(list(folder.rglob("counter_*.db"))) == 1


def test_a_fresh_arbiter_begins_anew_and_leaves_the_living_alone(folder, tmp_path):
    dead, mine = folder / "gone-1", next(folder.iterdir())
    dead.mkdir()
    work(0, 2)
    held, request_metrics._lock = request_metrics._lock, None
    with subprocess.Popen([sys.executable, "-c", BEGIN, str(tmp_path)], cwd=BASE_DIR, stdout=subprocess.PIPE) as other:
        listed = other.communicate()[0].decode().split()
    assert mine.name in listed
    assert "gone-1" not in listed
    assert len(listed) == 2
    held.close()


BEGIN = """
import os, sys
from pathlib import Path
from controlplane import request_metrics
request_metrics.reset_counters(Path(sys.argv[1]))
print(*os.listdir(Path(sys.argv[1]) / "metrics"))
"""


def test_without_room_on_the_disk_a_process_counts_alone(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(request_metrics.os, "posix_fallocate", full)
    monkeypatch.setattr(request_metrics.values, "ValueClass", request_metrics.values.ValueClass)
    request_metrics.take_slot(0)
    assert request_metrics.FOLDER not in os.environ
    assert request_metrics.values.ValueClass is request_metrics.values.MutexValue


@pytest.mark.parametrize(("taken", "free"), [([], 0), ([0, 1], 2), ([1, 2], 0), ([0, 2], 1)])
def test_slots_are_the_lowest_that_are_free(taken, free):
    assert request_metrics.find_free_slot(taken) == free


@pytest.mark.django_db
def test_a_stream_is_open_until_it_is_closed():
    gauge = request_metrics.get_counters().streams._value
    before = gauge.get()
    stream = StreamingHttpResponse(iter([b"x"]), content_type="text/event-stream")
    request_metrics.CountRequests(lambda request: stream)(RequestFactory().get("/"))
    assert gauge.get() == before + 1
    stream.close()
    assert gauge.get() == before


def test_what_cannot_be_counted_is_answered_all_the_same(monkeypatch, caplog):
    monkeypatch.setattr(request_metrics, "get_counters", lambda: None)
    answer = request_metrics.CountRequests(lambda request: HttpResponse("fine"))(RequestFactory().get("/"))
    assert answer.content == b"fine"
    assert "was not counted" in caplog.text
