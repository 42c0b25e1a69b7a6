"""Values out of pages: numbers, dates, attributes, links and patterns."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from deepseek.collect.extract import decode_body, extract, parse_date, parse_number
from deepseek.collect.spec import CollectSpec
from deepseek.collect.urls import matches_pattern, normalize_url, resolve_link

NUMBERS = [
    ("1,234.50 USD", 1234.5),
    ("¥ 20 000", 20000.0),
    ("３．２万", 32000.0),
    ("1.5亿元", 1.5e8),
    ("\N{MINUS SIGN}5", -5.0),
    (".5", 0.5),
    ("12%", 12.0),
    ("1e3", 1000.0),
    ("2026 123", 2026.0),
    ("1,5", None),
    ("1.2.3", None),
    ("none", None),
    ("1e999", None),
]


def test_numbers():
    assert [(text, parse_number(text)) for text, _ in NUMBERS] == NUMBERS


DATES = [
    ("2026-01-31", "", datetime(2026, 1, 30, 16, tzinfo=UTC)),
    ("2026年1月31日 10:30", "", datetime(2026, 1, 31, 2, 30, tzinfo=UTC)),
    ("on 2026/1/31", "", datetime(2026, 1, 30, 16, tzinfo=UTC)),
    ("2026-01-31T10:00:00Z", "", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ("31.01.26", "%d.%m.%y", datetime(2026, 1, 30, 16, tzinfo=UTC)),
    ("2026-13-40", "", None),
    ("soon", "", None),
    ("0001-01-01", "", None),
]


def test_dates():
    wanted = [(text, written, moment and moment.timestamp()) for text, written, moment in DATES]
    zone = ZoneInfo("Asia/Shanghai")
    assert [(text, written, parse_date(text, written, zone)) for text, written, _ in DATES] == wanted


def read(html, *fields, **more):
    spec = CollectSpec.model_validate(
        {"start_urls": ["http://a/"], "allowed_hosts": ["a"], "pages": [{"fields": list(fields), **more}]}
    )
    return extract(spec, spec.pages[0], "http://a/dir/page", html)


def test_text_attributes_html_and_xpath():
    html = "<div id=d data-n='7'>a <script>no</script>  b<i>c</i></div>"
    found = read(
        html,
        {"name": "text", "select": "#d"},
        {"name": "attr", "select": "#d", "type": "attr", "attribute": "id"},
        {"name": "number", "select": "#d", "type": "number", "attribute": "data-n"},
        {"name": "html", "select": "i", "type": "html"},
        {"name": "xpath", "select": "//div/@data-n"},
        {"name": "css", "select": "i::text"},
        {"name": "none", "select": "u"},
    )
    assert found.items == [
        {"text": "a b c", "attr": "d", "number": 7.0, "html": "<i>c</i>", "xpath": "7", "css": "c", "none": None}
    ]


def test_an_xpath_of_a_field_stays_within_its_item():
    found = read("<li><b>1</b></li><li><b>2</b></li>", {"name": "b", "select": "//b"}, items="//li")
    assert [item["b"] for item in found.items] == ["1", "2"]


def test_hostile_pages_are_only_read():
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><p>&b;</p>\0<p' + "<div>" * 5000
    assert read(bomb, {"name": "p", "select": "p"}).items[0]["p"] != "aaaaaaaa"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        ("中文".encode("gb18030"), ""),
        ("中文".encode(), ""),
        ("中文".encode("gb18030"), "text/html; charset=gbk"),
        ('<meta charset="gb2312">中文'.encode("gb18030"), ""),
        ("\ufeff中文".encode("utf-16"), ""),
    ],
)
def test_encodings(body, header):
    assert decode_body(body, header).endswith("中文")


LINKS = [
    ("../x?a=1#top", "http://a/x?a=1"),
    (" //b/y ", "http://b/y"),
    ("#top", None),
    ("javascript:alert(1)", None),
    ("mailto:x@y", None),
    ("http://[", None),
    ("", None),
]


def test_links_are_made_absolute():
    assert [(link, resolve_link("http://a/dir/page", link)) for link, _ in LINKS] == LINKS


def test_two_spellings_of_one_address_are_one():
    assert normalize_url("HTTP://A.example:80") == normalize_url("http://a.example/#x")
    assert normalize_url("http://a.example:81/") != normalize_url("http://a.example/")


PATTERNS = [
    ("", True),
    ("/news/", True),
    ("*/news/*", True),
    ("*/news/*.html", False),
    ("*/news", False),
    ("http://*7", True),
]


def test_patterns():
    assert [(pattern, matches_pattern(pattern, "http://a/news/7")) for pattern, _ in PATTERNS] == PATTERNS
