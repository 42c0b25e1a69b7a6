import pytest

from deepseek.clean.plan import estimate_memory_bytes


@pytest.mark.parametrize(
    ("rows", "columns", "measured"), [(100_000, 5, 258), (1_000_000, 5, 430), (1_000_000, 20, 974)]
)
def test_memory_is_near_what_was_measured(rows, columns, measured):
    assert measured * 0.9 < estimate_memory_bytes(rows, columns) / 1e6 < measured * 1.15


def test_a_longer_table_takes_no_more():
    assert estimate_memory_bytes(10**9, 10) == estimate_memory_bytes(10**8, 10) < 1.1e9
    assert estimate_memory_bytes(10**9, 1000) > estimate_memory_bytes(10**9, 10)
