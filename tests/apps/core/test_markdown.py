"""Notes as HTML: Markdown is shown, and nothing that somebody wrote into it runs, loads or styles anything."""

from __future__ import annotations

import re

import pytest

from apps.core.markdown import render_markdown


def test_what_people_write():
    text = render_markdown("# Why\n\nA **wider** net, see `lr`:\n\n- one\n- two\n\n[docs](https://a.example/x)")
    assert "<h3>Why</h3>" in text
    assert "<strong>wider</strong>" in text
    assert "<li>one</li>" in text
    assert '<a href="https://a.example/x" rel="nofollow noopener noreferrer">docs</a>' in text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        '<a href="https://a.example" style="x">y</a>',
        '[x](https://a.example "\\" onclick=alert(1)")',
        "<svg/onload=alert(1)>",
    ],
)
def test_nothing_runs(text):
    found = render_markdown(text)
    tags = re.findall(r"<[a-z][^>]*>", found)
    assert all(re.fullmatch(r'<p>|<a href="https://[^"]*" title="[^"]*" rel="[a-z ]*">', tag) for tag in tags), tags


def test_a_picture_is_an_address_and_is_not_loaded():
    assert "<img" not in render_markdown("![plot](https://a.example/x.png)")


def test_a_table_has_no_inline_style():
    found = render_markdown("|a|b|\n|:-|-:|\n|1|2|")
    assert "<table>" in found
    assert "style" not in found


def test_deep_headings_stay_headings():
    assert "<h6>" in render_markdown("###### x")
