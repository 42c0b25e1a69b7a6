from __future__ import annotations

import pytest

from apps.core.errors import Invalid
from apps.platform.artifacts.file_names import clean_file_name, clean_media_type
from apps.platform.artifacts.request_body import name_in


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.csv", "a.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\a.csv", "a.csv"),
        ("..", ""),
        ("a/", ""),
        ("a\x00b\n\u202ec", "abc"),
        ("x" * 300, "x" * 255),
        (" 数据.csv ", "数据.csv"),
    ],
)
def test_a_name_is_never_a_path(sent, kept):
    assert clean_file_name(sent) == kept


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (None, ""),
        ("attachment", ""),
        ('attachment; filename="a b.csv"', "a b.csv"),
        ("attachment; filename*=utf-8''%E6%95%B0.csv", "数.csv"),
    ],
)
def test_the_name_in_a_header(header, name):
    assert name_in(header) == name


@pytest.mark.parametrize(
    ("sent", "kept"), [("", "application/octet-stream"), ("Text/CSV; charset=utf-8", "text/csv"), ("a/b+c", "a/b+c")]
)
def test_media_types(sent, kept):
    assert clean_media_type(sent) == kept


@pytest.mark.parametrize("sent", ["a", "a/", "/b", "a/b c", "a/<b>", "a/" + "b" * 120])
def test_wrong_media_types(sent):
    with pytest.raises(Invalid):
        clean_media_type(sent)
