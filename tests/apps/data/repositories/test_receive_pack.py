"""What the person who pushes reads of a refusal."""

from __future__ import annotations

from apps.core.errors import Conflict, Invalid
from apps.data.repositories.receive_pack import list_error_lines


def test_a_hint_that_several_errors_have_stands_once_behind_them():
    rows = [{"message": text, "hint": hint} for text, hint in (("a", "x"), ("b", "x"), ("c", None), ("d", "y"))]
    assert list_error_lines(Invalid("all", errors=rows)) == ["a", "b", "x", "c", "d", "y"]
    assert list_error_lines(Conflict("alone", hint="do")) == ["alone", "do"]
