"""Writers of an SQLite database are served in the order in which they came, across threads and processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from django.db import connection, transaction

from apps.platform.accounts.models import Project
from controlplane.sqlite import write_queue
from controlplane.sqlite.write_queue import WriteQueue, get_write_queue

HOLD = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def queue(tmp_path):
    return WriteQueue(tmp_path / "writers")


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def test_threads_are_served_in_order(queue):
    assert queue.enter()
    served, threads = [], []

    def write(number):
        assert queue.enter()
        served.append(number)
        queue.leave()

    for number in range(20):
        threads.append(threading.Thread(target=write, args=(number,)))
        threads[-1].start()
        wait_for(lambda length=number + 1: len(queue.waiting) == length)
    queue.leave()
    for thread in threads:
        thread.join(60)
    assert served == list(range(20))
    assert not queue.is_taken


def test_another_process_is_waited_for(queue):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(queue.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"locked\n"
    entered = []
    thread = threading.Thread(target=lambda: entered.append(queue.enter()))
    thread.start()
    thread.join(0.05)
    assert entered == []
    other.kill()
    other.communicate()
    thread.join(60)
    assert entered == [True]


def test_who_has_waited_for_too_long_goes_on_without_a_turn(queue, monkeypatch):
    assert queue.enter()
    monkeypatch.setattr(write_queue, "WAIT_SECONDS", 0.02)
    assert queue.enter() is False
    assert not queue.waiting
    queue.leave()
    assert queue.enter()


def test_a_folder_that_takes_no_file_queues_nobody(tmp_path):
    assert WriteQueue(tmp_path / "missing" / "writers").enter() is False


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite alone has one writer")
def test_a_transaction_has_the_turn_until_it_ends():
    queue = get_write_queue(str(connection.settings_dict["NAME"]))
    with transaction.atomic():
        assert queue.is_taken
        with transaction.atomic():
            assert queue.is_taken
        assert queue.is_taken
    assert not queue.is_taken
    with pytest.raises(RuntimeError), transaction.atomic():
        raise RuntimeError
    assert not queue.is_taken
    with transaction.atomic():
        connection.close()
    assert not queue.is_taken


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite alone has one writer")
def test_a_write_outside_of_a_transaction_queues_too(monkeypatch):
    turns = []
    enter = WriteQueue.enter
    monkeypatch.setattr(WriteQueue, "enter", lambda self: turns.append("enter") or enter(self))
    Project.objects.create(slug="a", name="A")
    Project.objects.filter(slug="a").update(name="B")
    assert len(turns) == 2
    assert Project.objects.get(slug="a").name == "B"
    with transaction.atomic():
        Project.objects.filter(slug="a").update(name="C")
    assert len(turns) == 3
    assert not get_write_queue(str(connection.settings_dict["NAME"])).is_taken
