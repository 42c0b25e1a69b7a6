"""What a connection to SQLite keeps open and in memory."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from django.db import OperationalError, connection, connections, transaction

from apps.core.db.deferred_transactions import defer_write_lock
from apps.data.datasets.ingest.local_files import expand_database_cache
from controlplane.settings import SQLITE_HEAP_BYTES
from controlplane.sqlite.base import DatabaseWrapper

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


@pytest.fixture
def files(tmp_path):
    """The aliases of two connections to one file: databases of tests are in memory."""
    aliases = ["reader", "writer"]
    for alias in aliases:
        settings = {**connection.settings_dict, "NAME": str(tmp_path / "plane.sqlite3")}
        connections[alias] = DatabaseWrapper(settings, alias)
    with connections["writer"].cursor() as cursor:
        cursor.execute("CREATE TABLE written (id INTEGER)")
    yield aliases
    for alias in aliases:
        connections[alias].close()
        del connections[alias]


def test_a_transaction_that_reads_waits_for_no_writer_and_stops_none(files):
    def count(alias):
        with connections[alias].cursor() as cursor:
            return cursor.execute("SELECT count(*) FROM written").fetchone()[0]

    def write(alias):
        with connections[alias].cursor() as cursor:
            cursor.execute("INSERT INTO written VALUES (1)")

    connections["reader"].ensure_connection()
    mode = connections["reader"].transaction_mode
    with transaction.atomic(using="writer"):
        write("writer")
        with defer_write_lock("reader"), transaction.atomic(using="reader"):
            assert count("reader") == 0
    with defer_write_lock("reader"), transaction.atomic(using="reader"):
        assert count("reader") == 1
        write("writer")
        with pytest.raises(OperationalError):  # at once: it has read what is old now
            write("reader")
    assert (count("writer"), connections["reader"].transaction_mode) == (2, mode)
