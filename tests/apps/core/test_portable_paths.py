"""Which names some client would take for others."""

from __future__ import annotations

import pytest

from apps.core.errors import Invalid
from apps.core.portable_paths import find_path_defect
from apps.data.datasets.versions.manifest import check_path

DEFECTS = {
    "a\\b": "backslash",
    "a\nb": "U+000A",
    "a\u202eb": "U+202E",
    "a\u2066b": "U+2066",
    "a\u200fb": "U+200F",
    "a\u2028b": "U+2028",
    "a\udc80b": "U+DC80",
    "CON": "device",
    "x/com\u00b2.txt": "device",
    "x/ConOut$": "device",
    "nul .csv": "device",
    "x./y": "ends with a dot",
    "x /y": "ends with a dot or a space",
}
FINE = ["a/b.csv", "\u65e5\u5fd7.csv", ".hidden", "com", "com0x", "console.csv", "a..b", "nul-1.csv", "a b.csv"]


def test_each_defect_is_named():
    found = {path: find_path_defect(path) for path in [*DEFECTS, *FINE]}
    assert {path: text for path, text in found.items() if DEFECTS.get(path, "") not in text} == {}
    assert [path for path in FINE if found[path]] == []


def test_files_of_datasets_have_none():
    for path in DEFECTS:
        with pytest.raises(Invalid) as refused:
            check_path(path, "path")
        assert refused.value.code == "bad_path", path
    for path in FINE:
        check_path(path, "path")


@pytest.mark.parametrize("path", ["", "/a", "a//b", "./a", "../a"])
def test_what_was_refused_before_still_is(path):
    with pytest.raises(Invalid):
        check_path(path, "path")
