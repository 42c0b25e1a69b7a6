"""The card of a version: what the record holds is told, what it does not hold is said to be missing."""

import re
from html.parser import HTMLParser

import pytest

from apps.ml.registry.model_card.blocks import (
    Code,
    Document,
    Facts,
    Points,
    Section,
    Table,
    Text,
    render_html,
    render_markdown,
)
from apps.ml.registry.models import ModelTag

pytestmark = pytest.mark.django_db
MITCHELL = [
    "Model Details",
    "Intended Use",
    "Factors",
    "Metrics",
    "Evaluation Data",
    "Training Data",
    "Quantitative Analyses",
    "Ethical Considerations",
    "Caveats and Recommendations",
]


class Balanced(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def cards(api, viewer):
    """cards(version) -> the card as Markdown and as HTML."""

    def read(version):
        found = []
        for ending, kind in (("md", "text/markdown"), ("html", "text/html")):
            answer = api(viewer).get(
                f"/api/v1/projects/demo/models/wti-forecast/versions/{version.number}/card.{ending}"
            )
            assert answer.status_code == 200
            assert answer["Content-Type"].startswith(kind)
            name = f"wti-forecast-v{version.number}-card.{ending}"
            assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
            found.append(answer.content.decode())
        return found

    return read


def test_both_forms_have_the_sections_of_the_paper(cards, registered):
    text, page = cards(registered())
    assert re.findall("^## (.+)$", text, re.MULTILINE)[:9] == MITCHELL
    assert re.findall("<h2>(.+)</h2>", page)[:9] == MITCHELL


def test_it_tells_what_the_record_holds(cards, registered, approved, a_set, gate, measure):
    version = registered(note="first of all")
    approved(version)
    variant = version.variants.get(name="fp32")
    variant.figures = {**variant.figures, "notes": ["The trained data end in May."]}
    variant.save(update_fields=["figures"])
    on = a_set(spec={"slices": [{"column": "region"}]})
    gate(version.model, on, margin=0.05)
    measure(version, on, 1.25, 0.1, parts=[("region", "south", 1.4)])
    for card in cards(version):
        for part in (
            version.digest,
            "The trained data end in May.",
            "first of all",
            "later v1",
            "1.25",
            "1.15 to 1.35, 95%",
            "region: south",
            "20 µs",
            "approver (approve)",
            "production",
            "no baseline",
            "deepseek serve wti-forecast-fp32",
            "2 rows lack",
        ):
            assert part in card


def test_what_is_not_recorded_is_said_to_be_missing(cards, registered):
    text, _page = cards(registered())
    assert "The record does not say." in text
    assert "It was evaluated on no set" in text or "Rows held out by the training" in text


def test_what_people_know_comes_from_tags_and_is_text(cards, registered):
    version = registered()
    ModelTag.objects.create(model=version.model, key="card.intended_use", value="Not for <b>trading</b> | *ever*")
    text, page = cards(version)
    assert r"Not for &lt;b&gt;trading&lt;/b&gt; \| \*ever\*" in text
    assert "Not for &lt;b&gt;trading&lt;/b&gt; | *ever*" in page


def test_the_page_stands_alone_and_runs_nothing(cards, registered, a_set, measure):
    version = registered()
    measure(version, a_set(), 1.0)
    _text, page = cards(version)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe", "a", "object"} & {tag for tag, _attrs in parser.tags}
    assert not any(name.startswith("on") for _tag, attrs in parser.tags for name in attrs)
    assert "url(" not in page
    assert "@import" not in page


NASTY = "a|b <script>alert(1)</script> `c` *d* _e_ [f](g) & \\ # 1. #h"


def test_no_text_becomes_markup():
    blocks = [Text(f"# {NASTY}"), Facts([(NASTY, NASTY)]), Table((NASTY, "x"), [(NASTY, "y")], NASTY), Points([NASTY])]
    document = Document(NASTY, NASTY, [Section(NASTY, blocks)])
    page, text = render_html(document, ""), render_markdown(document)
    assert "<script" not in page
    assert "<script" not in text
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert r"\# a" in text


def test_code_may_hold_fences():
    text = render_markdown(Document("t", "s", [Section("c", [Code("```\nx\n````")])]))
    assert text.count("`````") == 2
