"""Templates of the plane's loader write what Django's write, and fail where those fail."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.template import Context, Template, TemplateDoesNotExist, engines
from django.template.loader import get_template
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override

from apps.web.fast_templates import FastTemplate, FastVariableNode


class Row:
    name = "a & b"
    number = 1234567
    missing = None
    nested = None
    cells = ("x", "y")
    words = {"key": "<b>", "items": "a key that is a method's name too"}

    def plain(self):
        return "called"

    def wants(self, argument):
        return argument

    def delete(self):
        raise AssertionError("a template must not call this")

    delete.alters_data = True

    @property
    def gone(self):
        raise ObjectDoesNotExist

    @property
    def broken(self):
        raise AttributeError("of the property itself")

    def fails(self):
        raise TypeError("of the method itself")


class Keyed(dict):
    attribute = "an attribute beside the keys"


class Uncalled:
    do_not_call_in_templates = True
    value = "of the class"

    def __call__(self):
        raise AssertionError("a template must not call this")


SOURCES = [
    "{{ row.name }} {{ row.number }} {{ row.missing }} {{ row.nothing }} {{ nothing }} {{ row.nested.deeper }}",
    "{{ row.plain }} {{ row.wants }} {{ row.delete }} {{ row.gone }} {{ function }}",
    "{{ row.cells.1 }} {{ row.cells.7 }} {{ row.words.key }} {{ row.words.items }} {{ row.words.nothing }}",
    "{{ row.words.copy.key }} {{ keyed.attribute }} {{ keyed.key }} {{ uncalled.value }} {{ text.upper }} {{ text.0 }}",
    "{{ safe }} {{ text }} {{ lazy }} {{ moment }} {{ share }} {{ decimal }} {{ yes }} {{ none }} {{ row.name|safe }}",
    "{% autoescape off %}{{ row.name }}{{ safe }}{{ row.number }}{% endautoescape %}",
    "{% if row.nothing %}1{% endif %}{% if row.name == 'a & b' %}2{% endif %}{% if nothing is None %}3{% endif %}",
    "{% for cell in row.cells %}{{ forloop.counter }}{{ cell }}{{ row.name }}{% endfor %}{{ cell }}",
    "{% with a=row.words b=row %}{{ a.key }}{{ b.name|default:row.number }}{{ b.nothing|default:b.name }}{% endwith %}",
    '{{ row.nothing|default_if_none:"–" }}{{ row.missing|default:"–" }}',
    '{{ _("Jobs") }}{{ "a<b" }}{{ 5 }}{{ 5|yesno }}',
    "{{ row.broken }}",
    "{{ row.fails }}",
]


def render(kind: type[Template], source: str) -> str:
    facts = {"row": Row(), "function": lambda: "called", "keyed": Keyed(key="<"), "uncalled": Uncalled(), "text": "<i>"}
    facts |= {"safe": mark_safe("<u>"), "lazy": gettext_lazy("Jobs"), "moment": datetime(2026, 1, 2, tzinfo=UTC)}
    facts |= {"share": 0.5, "decimal": Decimal("1234.50"), "yes": True, "none": None}
    try:
        return kind(source, engine=engines["django"].engine).render(Context(facts))
    except Exception as failure:
        return repr(failure)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("source", SOURCES)
def test_same_text_as_django(source, language):
    with override(language):
        assert render(FastTemplate, source) == render(Template, source)


def test_pages_are_such_templates():
    """Else the rest here holds nothing of them."""
    template = get_template("components/pick.html").template

    assert isinstance(template, FastTemplate)
    assert template.nodelist.get_nodes_by_type(FastVariableNode)


def test_a_template_that_is_not_there():
    with pytest.raises(TemplateDoesNotExist) as failure:
        get_template("components/nothing.html")

    assert len(failure.value.chain[0].tried if failure.value.chain else failure.value.tried) > 1
