"""An area of the store: apart from its objects, and the only place whose bytes can be forgotten."""

from __future__ import annotations

import pytest

from apps.core.canonical import sha256_hex

DATA, OTHER = b"a checkpoint", b"the next one"
DIGEST = sha256_hex(DATA)


@pytest.fixture
def area(each_store):
    return each_store.area("checkpoints", "7-1")


def test_equal_bytes_in_the_store_and_in_two_areas_are_three_objects(each_store, area, stored):
    twin = each_store.area("checkpoints", "8-1")
    for where in (each_store, area, twin):
        stored(where, DATA)
    area.remove(DIGEST)
    assert [where.exists(DIGEST) for where in (each_store, area, twin)] == [True, False, True]


def test_removing_what_is_not_there_is_no_fault(area):
    area.remove(DIGEST)
    area.clear()


def test_clearing_takes_everything_and_leaves_the_neighbour(each_store, area, stored):
    neighbour = each_store.area("checkpoints", "7-11")
    stored(area, DATA)
    stored(area, OTHER)
    stored(neighbour, DATA)
    cut_off = area.open_staging()
    cut_off.write(OTHER)
    area.clear()
    cut_off.discard()
    assert [where.exists(DIGEST) for where in (area, neighbour)] == [False, True]
    assert each_store.area("checkpoints").areas() == ["7-11"]


def test_what_was_cleared_can_be_written_again(area, stored):
    stored(area, DATA)
    area.clear()
    stored(area, DATA)
    assert area.verify(DIGEST)


def test_no_area_is_no_fault(each_store):
    assert each_store.area("checkpoints").areas() == []


def test_the_store_itself_forgets_nothing(each_store, stored):
    stored(each_store, DATA)
    for forget in (each_store.clear, lambda: each_store.remove(DIGEST)):
        with pytest.raises(ValueError, match="forgets nothing"):
            forget()
    assert each_store.exists(DIGEST)


def test_no_area_lies_elsewhere(each_store):
    for name in ("", "..", "a/b", "A", ".hidden", "-x"):
        with pytest.raises(ValueError, match="no name of an area"):
            each_store.area("checkpoints", name)
