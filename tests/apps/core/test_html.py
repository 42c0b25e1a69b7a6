"""Markup put together by apps.core.html is Django's own, character for character."""

from __future__ import annotations

import pytest
from django.utils import html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from apps.core.html import format_html, format_html_join
from deepseek.messages import Message


class Marked:
    def __html__(self) -> str:
        return "<i>marked</i>"


VALUES = ["<a href='x'>&\"", SafeString("<b>"), 4, -1.5, True, None, gettext_lazy("Cancel"), Message("<m>"), Marked()]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_reads_as_from_django(value: object) -> None:
    found = format_html("<p>{}|{name}</p>", value, name=value)
    assert found == html.format_html("<p>{}|{name}</p>", value, name=value)
    assert isinstance(found, SafeString)


def test_a_template_without_values_is_refused() -> None:
    with pytest.raises(TypeError):
        format_html("<p>already put together</p>")


def test_rows_are_joined_as_by_django() -> None:
    rows = [(value, 1) for value in VALUES]
    assert format_html_join("<&", "{}{{{}", rows) == html.format_html_join("<&", "{}{{{}", rows)
