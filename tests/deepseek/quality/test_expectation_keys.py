"""Rows that repeat a key: the same in memory and by partitions on disk."""

import pyarrow as pa

from deepseek.quality.expectation_keys import KeyHashes

BATCHES = [["a", "b", None], ["c", "a", "b"], ["a", None, "d"]]


def test_repeated_keys_are_the_same_in_memory_and_on_disk():
    repeats = {}
    for held in (100, 2):
        with KeyHashes(held) as keys:
            for number, batch in enumerate(BATCHES):
                keys.add([pa.array(batch)], 3 * number)
            repeats[held] = keys.find_repeated(2)
    assert repeats == dict.fromkeys(repeats, (3, 7, [(4, "as in row 1"), (5, "as in row 2")]))
