"""`joinlines`: inline content that stands on several lines of a template and on one of the page."""

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.template.loader import render_to_string


def render(source: str, **context: object) -> str:
    return Template(source).render(Context(context))


def test_lines_are_joined_without_white_space() -> None:
    source = "{% joinlines %}\n  <b>\n    {{ x }}\n  </b>\n  {% if x %}\n    , more\n  {% endif %}\n{% endjoinlines %}"
    assert render(source, x="1") == "<b>1</b>, more"


def test_spaces_within_a_line_stay() -> None:
    assert render("{% joinlines %}\n  a{% if x %} <b>b</b>{% endif %}\n{% endjoinlines %}", x=True) == "a <b>b</b>"


def test_attributes_on_lines_of_their_own_stay_apart() -> None:
    source = '{% joinlines %}\n<a\n  {% if x %}id="{{ x }}"{% endif %}\n  href="/">\n  b\n</a>\n{% endjoinlines %}'
    assert render(source, x="1") == '<a id="1" href="/">b</a>'


def test_line_breaks_of_values_stay() -> None:
    assert render("{% joinlines %}\n  {{ x }}\n{% endjoinlines %}", x="a\n  b") == "a\n  b"


def test_text_around_it_stays() -> None:
    assert render("a\n{% joinlines %}\n  b\n{% endjoinlines %}\nc") == "a\nb\nc"


def test_without_its_end_it_is_refused() -> None:
    with pytest.raises(TemplateSyntaxError):
        render("{% joinlines %}a")


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("accounts/role.html", {"role": "viewer"}),
        ("nodes/silent.html", {"node": {}}),
        ("registry/factor.html", {"factor": {"by": 3, "is_more": True}, "more": "larger"}),
        ("registry/metric.html", {"metric": {"name": "mae", "value": 1, "low": 1, "high": 2}}),
        ("registry/metric.html", {"metric": None}),
        ("audit/value.html", {"value": "a"}),
    ],
)
def test_what_a_sentence_includes_brings_no_white_space(name: str, context: dict[str, object]) -> None:
    text = render_to_string(name, context)
    assert text == text.strip() != ""
    assert "\n" not in text
