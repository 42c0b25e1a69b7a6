"""What the web process keeps in memory of a table of many parts, and how many requests wait for a child."""

from types import SimpleNamespace

import pytest

from apps.core.errors import Unavailable
from apps.data.datasets.rows import child_reader


class Ranges:
    def __init__(self, artifact):
        self.artifact, self.chunks = artifact, {}

    def read(self, start, end):
        self.chunks[start] = b"x"
        return f"{self.artifact}:{start}".encode()


def test_bytes_of_few_files_stay_in_memory(monkeypatch):
    lookups = []

    def open_ranges(artifacts):
        lookups.append(len(artifacts))
        return [Ranges(artifact) for artifact in artifacts]

    monkeypatch.setattr(child_reader, "open_ranges", open_ranges)
    monkeypatch.setattr(child_reader, "release_connection", lambda: None)
    files = child_reader.OpenFiles(range(200))
    assert [files.read(number, 4, 5) for number in range(200)] == [f"{number}:4".encode() for number in range(200)]
    assert lookups == [64, 64, 64, 8]
    assert sum(len(ranges.chunks) for ranges in files.opened.values()) == child_reader.MAX_FILES_IN_MEMORY


def test_no_more_requests_wait_than_leave_threads_free(monkeypatch):
    monkeypatch.setattr(child_reader, "turns", SimpleNamespace(acquire=lambda timeout: False, release=None))
    monkeypatch.setattr(child_reader, "slots", None)  # nobody waits for it
    with pytest.raises(Unavailable) as refused:
        child_reader.ask_for_rows([], {})
    assert refused.value.code == "rows_busy"
