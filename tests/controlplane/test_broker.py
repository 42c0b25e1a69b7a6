"""The embedded broker under writers and readers at once: no message lost, none twice, no reader dead."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from controlplane.broker import Channel, remove_stale
from controlplane.celery import app  # noqa: F401 - registers the transport's name

pytestmark = pytest.mark.services

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
    for _ in range(1200):
        if len(got) >= MESSAGES:
            break
        done.wait(0.05)
    done.set()
    for thread in readers:
        thread.join()
    assert sorted(got) == list(range(MESSAGES))


@pytest.fixture
def channel(options):
    with Connection("planefs://", transport_options=options) as connection:
        yield connection.default_channel


def test_a_message_that_is_not_whole_is_dropped_and_the_next_one_read(channel, options):
    folder = Path(options["data_folder_in"])
    for number, content in enumerate(["", '{"cut', '{"whole": 1}']):
        (folder / f"{number}_x.bell.msg").write_text(content)
    assert channel._get("bell") == {"whole": 1}
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("lost", ["queue", "control", ""])
def test_missing_folder_is_made_by_who_misses_it(options, tmp_path, lost):
    """A consumer that polls, and a publisher, each with nothing but its own declarations."""
    with Connection("planefs://", transport_options=options) as connection:
        queue = connection.SimpleQueue("bell")
        shutil.rmtree(tmp_path / lost)
        with pytest.raises(queue.Empty):
            queue.get(timeout=0.05)
        assert (tmp_path / "queue").is_dir()
        assert (tmp_path / "control").is_dir()
        shutil.rmtree(tmp_path / lost)
        queue.put({"number": 1})
        assert queue.get(timeout=60).payload == {"number": 1}


def test_unusable_folder_is_an_empty_queue(channel, options):
    """A worker outlives it, and goes on when the folder can be used again."""
    folder = Path(options["data_folder_in"])
    folder.rmdir()
    folder.touch()
    with pytest.raises(Empty):
        channel._get("bell")
    folder.unlink()
    channel._put("bell", {"number": 1})
    assert channel._get("bell") == {"number": 1}


def test_an_exchange_table_that_a_power_cut_emptied_is_made_anew(channel):
    channel._queue_bind("bells", "bell", "", "bell")
    channel._exchange_file("bells").write_text("")
    assert channel.get_table("bells") == []
    channel._queue_bind("bells", "bell", "", "bell")
    assert [row.queue for row in channel.get_table("bells")] == ["bell"]


def test_a_sweep_leaves_messages_and_nothing_else(channel, options):
    folder = Path(options["data_folder_in"])
    channel._put("bell", {"number": 1})
    for name in (".1_x.bell.msg.staged", ".1_x.bell.msg.taken"):
        (folder / name).touch()
    remove_stale(folder)
    assert len(list(folder.iterdir())) == channel._size("bell") == 1


def test_nobody_sends_before_the_binding_is_on_the_disk(options, monkeypatch):
    real, begun = Channel._queue_bind, threading.Event()

    def slow(self, *args):
        begun.set()
        time.sleep(0.3)
        real(self, *args)

    def declare():
        with Connection("planefs://", transport_options=options) as connection:
            connection.SimpleQueue("late")

    monkeypatch.setattr(Channel, "_queue_bind", slow)
    first = threading.Thread(target=declare)
    first.start()
    begun.wait()
    with Connection("planefs://", transport_options=options) as connection:
        queue = connection.SimpleQueue("late")
        queue.put({"number": 1})
        assert queue.get(timeout=60).payload == {"number": 1}
    first.join()
