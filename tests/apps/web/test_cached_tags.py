"""The plane's `translate` and `url`: what Django's write, in each language, for each argument, the second time too."""

from __future__ import annotations

import pytest
from django.template import Context, Template
from django.urls import NoReverseMatch
from django.utils import translation

from apps.web.templatetags.cached_tags import CachedTranslateNode, CachedURLNode


def draw(template: Template, **context: object) -> list[str]:
    return [template.render(Context(context)) for _ in range(2)]


def test_a_word_follows_the_language():
    template = Template('{% translate "Jobs" %}|{% translate "Jobs" as word %}{{ word }}')
    assert len(template.nodelist.get_nodes_by_type(CachedTranslateNode)) == 2
    with translation.override("en"):
        assert draw(template) == ["Jobs|Jobs"] * 2
    with translation.override("zh-hans"):
        assert draw(template) == ["作业|作业"] * 2
    with translation.override("en"):
        assert draw(template) == ["Jobs|Jobs"] * 2


def test_what_depends_on_more_than_the_language_is_not_remembered():
    template = Template('{% translate word %}{% translate "Jobs"|add:word %}')
    assert not template.nodelist.get_nodes_by_type(CachedTranslateNode)
    assert [draw(template, word="a"), draw(template, word="b")] == [["aJobsa"] * 2, ["bJobsb"] * 2]


def test_an_address_follows_its_arguments():
    template = Template('{% url "jobs:detail" slug pk %}')
    assert template.nodelist.get_nodes_by_type(CachedURLNode)
    assert draw(template, slug="demo", pk=7) == ["/p/demo/jobs/7"] * 2
    assert draw(template, slug="demo", pk="8") == ["/p/demo/jobs/8"] * 2


def test_an_address_that_does_not_exist_is_an_error_or_nothing():
    for _ in range(2):
        with pytest.raises(NoReverseMatch):
            Template('{% url "nowhere" %}').render(Context())
        assert Template('{% url "nowhere" as place %}[{{ place }}]').render(Context()) == "[]"
