"""The marks and badges of the interface: what they say, and that they never trust a text."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import timezone, translation
from django.utils.safestring import mark_safe

HOSTILE = '"><script>alert(1)</script>'
DIGEST = "0863bd76cf887492c5815ab8fa8f4d09e323dc6349f195bec0a4245bb6b4c474"


def render(source: str, **context: object) -> str:
    return Template(source).render(Context(context))


@pytest.mark.parametrize(
    "source",
    [
        "{% digest x %}",
        "{% digest x full=True %}",
        "{% state x %}",
        "{% state 'held' x %}",
        "{% icon x %}",
        "{% copy x %}",
        "{% copy 'a' x %}",
        "{% when x %}",
        "{% bar 1 2 label=x %}",
        "{% gauge 1 0 2 label=x %}",
        "{% rest_call 'POST' x body=x %}",
        "{% histogram edges counts unit=x count_unit=x %}",
        "{{ x|number }}",
        "{{ x|bytes }}",
        "{{ x|element_id }}",
        "{{ x|add_breaks }}",
        "{% wrapped 'p' x %}a{% endwrapped %}",
    ],
)
def test_hostile_text_is_escaped(source: str) -> None:
    html = render(source, x=HOSTILE, edges=[0, 1, 2], counts=[1, 2])
    assert "<script" not in html
    assert '"><' not in html.replace('"></', "").replace('/">', "") or "&quot;&gt;" in html


@pytest.mark.parametrize("source", ["{% icon x %}", "{% state 'held' x %}"])
def test_a_safe_text_lets_no_equal_one_pass_unescaped(source: str) -> None:
    render(source, x=mark_safe(HOSTILE))
    assert "<script" not in render(source, x=HOSTILE)


def test_digest_bars_are_the_first_eight_hex_digits() -> None:
    html = render("{% digest x %}", x=f"sha256:{DIGEST}")
    assert 'd="M1 12V11M4 12V5.7M7 12V7M10 12V9M13 12V3.7M16 12V2.4M19 12V6.4M22 12V7"' in html
    assert "0863bd76…c474" in html
    assert f'data-copy="sha256:{DIGEST}"' in html


def test_digest_without_prefix_draws_the_same() -> None:
    assert render("{% digest x %}", x=DIGEST.upper()) == render("{% digest x %}", x=f"sha256:{DIGEST}")


def test_digest_full_groups_by_eight() -> None:
    assert "<code>0863bd76 cf887492 " in render("{% digest x full=True %}", x=DIGEST)


@pytest.mark.parametrize("value", ["not hex", "sha256:", "12345"])
def test_what_is_no_digest_has_no_bars(value: str) -> None:
    html = render("{% digest x %}", x=value)
    assert "<path" not in html
    assert value in html


def test_no_digest_is_a_dash() -> None:
    assert render("{% digest x %}", x=None) == "–"


def test_state_has_icon_word_and_colour() -> None:
    html = render("{% state 'running' %}")
    assert 'class="state running"' in html
    assert "#i-running" in html
    assert "Running" in html


def test_state_speaks_chinese() -> None:
    with translation.override("zh-hans"):
        assert "运行中" in render("{% state 'running' %}")


def test_unknown_state_is_shown_as_written() -> None:
    assert "odd" in render("{% state 'odd' %}")


@pytest.mark.parametrize(
    "source", ["{% state s %}", "{% digest d %}", "{% gauge 1 0 2 1 %}", "{% bar 1 2 %}", "{% histogram e c %}"]
)
def test_no_style_attribute_or_script(source: str) -> None:
    html = render(source, s="held", d=DIGEST, e=[0, 1, 2], c=[3, 4])
    assert not re.search(r"\sstyle=|<style|<script|\son\w+=", html)


@pytest.mark.parametrize(
    ("source", "state", "dot"),
    [
        ("{% gauge 2 0 10 8 %}", "succeeded", "20%"),
        ("{% gauge 9 0 10 8 %}", "failed", "90%"),
        ("{% gauge 612 0 1000 500 at_least=True %}", "succeeded", "61.2%"),
        ("{% gauge 400 0 1000 500 at_least=True %}", "failed", "40%"),
        ("{% gauge 20 0 10 8 %}", "failed", "100%"),
    ],
)
def test_gauge(source: str, state: str, dot: str) -> None:
    html = render(source)
    assert f'class="gauge {state}"' in html
    assert f'cx="{dot}"' in html


def test_gauge_dots_the_forbidden_side() -> None:
    assert '<line class="no" x1="80%" x2="100%"' in render("{% gauge 2 0 10 8 %}")
    assert '<line class="no" x1="0%" x2="80%"' in render("{% gauge 2 0 10 8 at_least=True %}")


@pytest.mark.parametrize("source", ["{% gauge x 0 1 %}", "{% bar x 1 %}"])
def test_marks_without_a_number_are_a_dash(source: str) -> None:
    assert render(source, x=None) == "–"
    assert render(source, x=float("nan")) == "–"


def test_histogram_pools_to_twenty_bins_and_loses_none() -> None:
    html = render("{% histogram e c %}", e=list(range(101)), c=[1] * 100)
    assert html.count('class="pt"') == 20
    assert html.count('<td class="n">5</td>') == 20


def test_histogram_of_nothing_says_so() -> None:
    assert "No values" in render("{% histogram e c %}", e=[], c=[])


def test_histogram_refuses_edges_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="one edge more"):
        render("{% histogram e c %}", e=[0, 1], c=[1, 2])


@pytest.mark.parametrize(
    ("address", "source", "expected"),
    [
        ("/?sort=name&cursor=a", "{% query sort='rows' cursor=None %}", "?sort=rows"),
        ("/?q=a%26b", "{% query page=2 %}", "?q=a%26b&amp;page=2"),
        ("/?q=", "{% query q='' %}", "?"),
        ("/", "{% query q=x %}", "?q=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"),
    ],
)
def test_query(address: str, source: str, expected: str) -> None:
    assert render(source, request=RequestFactory().get(address), x=HOSTILE) == expected


@pytest.mark.parametrize(
    ("address", "href", "order"),
    [
        ("/", "?sort=rows", None),
        ("/?sort=rows", "?sort=-rows", "ascending"),
        ("/?sort=-rows&cursor=z", "?sort=rows", "descending"),
    ],
)
def test_sort_head(address: str, href: str, order: str | None) -> None:
    html = render("{% sort_head 'rows' 'Rows' %}", request=RequestFactory().get(address))
    assert f'href="{href}"' in html
    assert ("aria-sort" in html) is bool(order)
    assert order is None or f'aria-sort="{order}"' in html


def test_one_of_several_rest_calls_says_what_it_does() -> None:
    html = render("{% rest_call 'POST' '/api/v1/jobs/1/cancel' label='Cancel' %}", request=RequestFactory().get("/"))
    assert "Cancel</summary>" in html


def test_rest_call_quotes_for_the_shell() -> None:
    html = render(
        "{% rest_call 'POST' '/api/v1/jobs' body=b %}", request=RequestFactory().get("/"), b={"note": "it's $(id)"}
    )
    assert "curl -X POST http://testserver/api/v1/jobs" in html
    assert "it&#x27;&quot;&#x27;&quot;&#x27;s $(id)" in html
    assert "Bearer $TOKEN" in html


def test_a_path_may_break_after_its_slashes_but_the_first() -> None:
    assert render("{{ x|add_breaks }}", x="/a/b/<c") == "/a/<wbr>b/<wbr>&lt;c"
    assert render("{{ x|add_breaks }}", x="system/disk_usage_") == "system/<wbr>disk_<wbr>usage_"


def test_when_says_the_day_and_keeps_the_moment() -> None:
    moment = datetime.now(UTC) - timedelta(days=800)
    html = render("{% when x %}", x=moment)
    assert f'datetime="{moment.isoformat().replace("+00:00", "+00:00")}"' in html
    assert f">{moment:%Y-%m-%d}" in html


def test_when_is_relative_with_the_exact_time_as_title() -> None:
    moment = datetime.now(UTC) - timedelta(minutes=12, seconds=5)
    html = render("{% when x %}", x=moment)
    assert ">12 min ago</time>" in html
    assert 'data-when="relative"' in html
    assert f'title="{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}' in html
    assert "ago</time>" not in render("{% when x exact=True %}", x=moment)


def test_wrapped_leaves_nothing_around_nothing() -> None:
    assert render("{% wrapped 'p' 'answer' %}  {% endwrapped %}") == ""
    assert render("{% wrapped 'p' 'answer' 'L' %}a{% endwrapped %}") == '<p class="answer" aria-label="L">a</p>'


def test_rail_leaves_out_what_has_no_address() -> None:
    context = {"request": SimpleNamespace(project=None), "rail_urls": {"jobs": "/j"}, "nav": "jobs"}
    keys = render("{% rail as r %}{% for s in r %}{{ s.key }}={{ s.url }} {% endfor %}", **context)
    assert "jobs=/j" in keys
    assert "devices" not in keys


@pytest.mark.parametrize(("pointer", "expected"), [("/steps/0/window", "f-steps-0-window"), ("/a b", "f-a-b")])
def test_element_id(pointer: str, expected: str) -> None:
    assert render("{{ x|element_id }}", x=pointer) == expected


def test_a_path_breaks_after_its_slashes_and_is_escaped() -> None:
    assert render('{{ "model/<b>.json"|add_breaks }}') == "model/<wbr>&lt;b&gt;.json"


def test_500_renders_without_any_context() -> None:
    html = Template("{% extends '500.html' %}").render(Context())
    assert "Internal error" in html
    assert "Traceback" not in html


def test_a_whole_column_of_a_histogram_answers_the_pointer() -> None:
    html = render("{% histogram e c %}", e=[0, 1, 2], c=[5, 10])
    assert '<rect class="hit" x="-25%" y="-50%" width="50%" height="100%"/>' in html
    assert 'aria-label="0 to 1: 5"' in html
