"""The embedded broker under writers and readers at once: no message lost, none twice, no reader dead."""

from __future__ import annotations

import threading

import pytest
from kombu import Connection

from controlplane.celery import app  # noqa: F401 - registers the transport's name

MESSAGES, WRITERS, READERS = 300, 3, 3


@pytest.fixture
def options(tmp_path):
    folder = tmp_path / "queue"
    folder.mkdir()
    return {"data_folder_in": str(folder), "data_folder_out": str(folder), "control_folder": str(tmp_path / "control")}


def test_many_writers_and_readers_lose_nothing(options):
    got: list[int] = []
    done = threading.Event()

    def write(first: int) -> None:
        with Connection("planefs://", transport_options=options) as connection:
            queue = connection.SimpleQueue("bell")
            for number in range(first, MESSAGES, WRITERS):
                queue.put({"number": number})

    def read() -> None:
        with Connection("planefs://", transport_options=options) as connection:
            queue = connection.SimpleQueue("bell")
            while not done.is_set():
                try:
                    message = queue.get(timeout=0.1)
                except queue.Empty:
                    continue
                got.append(message.payload["number"])
                message.ack()

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    writers = [threading.Thread(target=write, args=(first,)) for first in range(WRITERS)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    for _ in range(200):
        if len(got) >= MESSAGES:
            break
        done.wait(0.05)
    done.set()
    for thread in readers:
        thread.join()
    assert sorted(got) == list(range(MESSAGES))
