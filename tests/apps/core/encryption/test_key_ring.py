"""ENCRYPTION_KEYS as it is read."""

from __future__ import annotations

import base64

import pytest

from apps.core.encryption.key_ring import KeyMissing, KeyRing, derive_fallback_key, parse_keys

A, B = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def test_the_first_key_is_the_active_one():
    ring = KeyRing(parse_keys([f"2026:{A}", f"2025:{B}"]))
    assert ring.active.id == "2026"
    assert ring.get_key("2025").secret == bytes([2]) * 32
    with pytest.raises(KeyMissing):
        ring.get_key("2024")


@pytest.mark.parametrize("entry", ["", A, "UPPER:" + A, "short:YWJj", "no-base64:!!", f"a:{A[:-4]}"])
def test_what_is_no_key_is_refused_without_repeating_it(entry):
    with pytest.raises(ValueError) as refusal:
        parse_keys([entry])
    assert A[:20] not in str(refusal.value)


def test_two_keys_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two keys"):
        parse_keys([f"a:{A}", f"a:{B}"])


def test_a_key_does_not_print_itself():
    assert "AQEB" not in repr(parse_keys([f"a:{A}"]))
    assert derive_fallback_key("x").id != derive_fallback_key("y").id
