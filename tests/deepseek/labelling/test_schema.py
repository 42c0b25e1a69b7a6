"""Schemas, their configurations, annotations in them, and business rules."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deepseek.labelling.label_studio import (
    ConfigError,
    list_violations,
    parse_config,
    parse_result,
    render_config,
    render_result,
)
from deepseek.labelling.marks import Marks, Relation, Span, build_marks
from deepseek.labelling.schema import LabellingSchema

TEMPLATE = (
    '<View><Text name="text" value="$text"/><Labels name="labels" toName="text">'
    '<Label value="PERSON" background="#FFA500"/><Label value="ORG" background="#00BFFF"/></Labels></View>'
)
DOMAIN = {
    "level": "domain",
    "data": "text",
    "labels": [{"value": "PERSON"}, {"value": "ORG"}],
    "relations": [{"value": "works_for", "sources": ["PERSON"], "targets": ["ORG"]}],
    "fields": [{"name": "risk", "choices": ["low", "high"]}, {"name": "amount", "kind": "number"}],
    "rules": [{"name": "any", "condition": "count(PERSON) >= 0"}],
}
TEXT = "Ada 😀 works at 北京大学."


def with_rule(condition):
    return LabellingSchema.model_validate({**DOMAIN, "rules": [{"name": "rule", "condition": condition}]})


def test_the_template_comes_out_byte_for_byte():
    assert render_config(parse_config(TEMPLATE)) == TEMPLATE


@pytest.mark.parametrize(
    "xml", ["<View>", "<View/>", "<!DOCTYPE a><View/>", TEMPLATE.replace("Text", "Video"), "x" * 300_000]
)
def test_what_is_no_configuration_is_refused(xml):
    with pytest.raises(ConfigError):
        parse_config(xml)


@pytest.mark.parametrize(
    "changes",
    [
        {"level": "basic"},
        {"level": "semantic"},
        {"labels": []},
        {"labels": [{"value": "A"}, {"value": "A"}]},
        {"relations": [{"value": "r", "sources": ["X"]}]},
        {"fields": [{"name": "risk"}]},
        {"fields": [{"name": "labels", "choices": ["a"]}]},
        {"classes": ["a", "b"]},
        {"data": "image"},
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(changes):
    with pytest.raises(ValidationError):
        LabellingSchema.model_validate({**DOMAIN, **changes})


def test_marks_survive_label_studio():
    schema = LabellingSchema.model_validate(DOMAIN)
    spans = [Span(15, 19, "ORG"), Span(0, 3, "PERSON")]
    marks = build_marks(spans, [Relation(1, 0, "works_for")], "", {"risk": "low", "amount": 2.0})
    assert parse_result(render_result(marks, schema, TEXT), schema, TEXT) == (marks, [])
    assert Marks.from_dict(marks.to_dict()) == marks


def test_offsets_of_browsers_are_those_of_utf_16():
    region = {"type": "labels", "from_name": "labels", "id": "a"}
    region["value"] = {"start": 16, "end": 20, "text": "北京大学", "labels": ["ORG"]}
    marks, _unknown = parse_result([region], parse_config(TEMPLATE), TEXT)
    assert marks.spans == (Span(15, 19, "ORG"),)


def test_a_value_that_the_schema_does_not_have_is_named():
    region = {"type": "labels", "from_name": "labels", "value": {"start": 0, "end": 3, "labels": ["HUMAN"]}}
    assert parse_result([region], parse_config(TEMPLATE), TEXT) == (Marks(), ["HUMAN"])


RULES = {
    "count(PERSON) = 1": True,
    "count(ORG) > 1": False,
    "if count(ORG) > 0 then every PERSON has works_for": True,
    "every ORG has works_for": False,
    "every ORG is works_for": True,
    "no PERSON overlaps ORG": True,
    'risk = "low" and amount >= 2': True,
    'risk in ("high")': False,
    "amount in (2, 3) or not set(risk)": True,
    'contains("北京") and length() < 100': True,
    'not (risk = "low")': False,
}


def test_rules_of_one_annotation():
    marks = build_marks(
        [Span(0, 3, "PERSON"), Span(15, 19, "ORG")],
        [Relation(0, 1, "works_for")],
        fields={"risk": "low", "amount": 2.0},
    )
    met = {rule: not list_violations(with_rule(rule), marks, TEXT) for rule in RULES}
    assert met == RULES


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("count(X) > 1", 7),
        ("risk > 3", 8),
        ('risk = "middle"', 8),
        ("count(ORG)", 11),
        ("(count(ORG) > 1", 16),
        ("every PERSON works", 14),
        ("amount = 1 1", 12),
        ("__import__", 1),
        ('amount in (1, "a")', 15),
        ("not " * 30 + "set(risk)", None),
    ],
)
def test_a_rule_that_is_none_names_its_place(rule, place):
    with pytest.raises(ValidationError) as refusal:
        with_rule(rule)
    context = refusal.value.errors()[0]["ctx"]
    assert place is None or context["place"] == place


def test_ends_of_relations_and_required_fields_are_rules_too():
    schema = LabellingSchema.model_validate(
        {**DOMAIN, "fields": [{"name": "risk", "choices": ["a"], "required": True}]}
    )
    marks = build_marks([Span(0, 3, "PERSON"), Span(15, 19, "ORG")], [Relation(1, 0, "works_for")])
    assert list_violations(schema, marks, TEXT) == ["works_for: ORG - PERSON", "risk is required"]
