"""Blocks of a stream: they make it up, keep their limits, do not depend on how it came, and survive an insertion."""

from hypothesis import given
from hypothesis import strategies as st

from deepseek.snapshots.chunking import MAX_BYTES, MIN_BYTES, split_blocks


def feed(data, size):
    return (data[start : start + size] for start in range(0, len(data), size))


def test_blocks_make_up_the_stream_within_their_limits(dump):
    blocks = list(split_blocks([dump], b"seed"))
    assert b"".join(blocks) == dump
    assert all(MIN_BYTES <= len(block) <= MAX_BYTES for block in blocks[:-1])
    assert len(blocks) > 4


def test_pieces_in_which_it_came_do_not_matter(dump):
    assert list(split_blocks(feed(dump, 77_777), b"seed")) == list(split_blocks([dump], b"seed"))


def test_insertion_changes_the_blocks_around_it_alone(dump):
    before = set(split_blocks([dump], b"seed"))
    after = list(split_blocks([b"a" + dump[:1_500_000] + b"inserted" + dump[1_500_000:]], b"seed"))
    assert len(set(after) - before) <= 3


def test_another_seed_cuts_elsewhere(dump):
    assert set(split_blocks([dump], b"seed")).isdisjoint(split_blocks([dump], b"other"))


def test_nothing_and_zeros():
    assert list(split_blocks([], b"seed")) == []
    assert [len(block) for block in split_blocks([bytes(2 * MAX_BYTES + 5)], b"seed")] == [MAX_BYTES, MAX_BYTES, 5]


@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_short_streams_are_one_block(chunks):
    assert b"".join(split_blocks(chunks, b"s")) == b"".join(chunks)
