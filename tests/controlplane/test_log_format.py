"""The lines of a log as the page writes them."""

from datetime import UTC, datetime

import pytest

from apps.web.templatetags.logs import log_lines

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def line(level="info", text="fine", at=AT, number=7):
    return {"number": number, "at": at, "level": level, "text": text}


def test_a_line_has_its_number_time_and_text():
    written = log_lines([line()])
    assert written.startswith('<li id="L7" class=""><a href="#L7">7</a><time datetime="2026-01-02T03:04:05+00:00"')
    assert written.endswith("<span>fine</span></li>")


@pytest.mark.parametrize(
    ("level", "css", "mark"),
    [
        ("warning", "held", "<b>WARNING</b> "),
        ("ERROR", "failed", "<b>ERROR</b> "),
        ("debug", "debug", ""),
        ("x", "", ""),
    ],
)
def test_a_grave_line_says_so_by_word_and_class(level, css, mark):
    written = log_lines([line(level)])
    assert f'class="{css}"' in written
    assert f"<span>{mark}fine</span>" in written


def test_what_an_engine_prints_is_never_markup():
    written = log_lines([line("<i>", '<script>"&')], linked='/p/"x')
    assert "<script>" not in written
    assert "<i>" not in written
    assert 'href="/p/&quot;x?line=7#L7"' in written
    assert "&lt;script&gt;&quot;&amp;" in written


def test_a_line_without_a_time_has_none():
    assert "<time" not in log_lines([line(at=None)])
