"""What a connection to SQLite keeps open and in memory."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from django.db import connection

from apps.data.datasets.ingest.local_files import expand_database_cache
from controlplane.settings import SQLITE_HEAP_BYTES

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="files and caches of SQLite"),
]


def test_a_thread_that_ends_without_close_leaves_no_connection_open():
    opened = []

    def read():
        connection.ensure_connection()
        opened.append(weakref.ref(connection.connection))

    for _ in range(5):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(10)
    gc.collect()
    assert [reference() for reference in opened] == [None] * 5


def test_an_ingest_alone_keeps_much_in_memory():
    def read_size():
        with connection.cursor() as cursor:
            return cursor.execute("PRAGMA cache_size").fetchone()

    connection.close()
    assert read_size() == (-4000,)
    expand_database_cache()
    assert read_size() == (-32000,)
    connection.close()
    assert read_size() == (-4000,)


def test_caches_of_all_threads_together_are_bounded():
    """Beyond the heap of the process a cache grows no more, whatever its own size may be."""
    connection.close()
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA soft_heap_limit").fetchone() == (SQLITE_HEAP_BYTES,)
