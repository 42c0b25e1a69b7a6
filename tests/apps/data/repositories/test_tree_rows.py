"""The rows of a pushed tree, read in time linear in their length."""

from __future__ import annotations

import io

import pytest

from apps.core.errors import Invalid
from apps.data.repositories import trees

ROW = b"100644 blob " + b"0" * 40 + b" 5\t"


def test_rows_in_pieces(monkeypatch):
    monkeypatch.setattr(trees, "CHUNK", 64)
    data = b"".join(ROW + b"%d.csv\0" % number for number in range(20))
    assert [path for path, _entry in trees.read_entries(io.BytesIO(data))] == [f"{number}.csv" for number in range(20)]


def test_a_path_without_end_is_refused_before_it_has_come(monkeypatch):
    monkeypatch.setattr(trees, "CHUNK", 64)
    data = io.BytesIO(ROW + b"a" * 10_000)
    with pytest.raises(Invalid) as raised:
        list(trees.read_entries(data))
    assert (raised.value.code, raised.value.limit) == ("bad_path", 64)
    assert data.tell() < 500
