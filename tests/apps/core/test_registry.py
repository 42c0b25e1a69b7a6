from __future__ import annotations

import pytest

from apps.core.registry import Registry


@pytest.fixture
def registry():
    registry = Registry("COLOURS")
    registry.register("red", 1)
    return registry


def test_it_reads_as_a_mapping_in_the_order_of_registration(registry):
    registry.register("blue", 2)
    assert list(registry.items()) == [("red", 1), ("blue", 2)]
    assert (registry.get("green"), "green" in registry, registry["blue"]) == (None, False, 2)


def test_a_second_value_of_a_key_is_refused(registry):
    with pytest.raises(ValueError, match="COLOURS has 'red' already"):
        registry.register("red", 3)
    assert registry["red"] == 1


def test_an_unknown_key_is_named(registry):
    with pytest.raises(KeyError, match="COLOURS has no 'green'"):
        registry["green"]


def test_an_override_ends_with_its_block(registry):
    with registry.override({"green": 3}):
        assert dict(registry) == {"green": 3}
    assert dict(registry) == {"red": 1}
