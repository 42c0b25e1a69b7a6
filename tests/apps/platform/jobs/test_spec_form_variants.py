"""A list whose entries are of several kinds: the kind is chosen first, then its fields are there."""

import pytest

from apps.platform.jobs.specforms.fields import ListOption, flatten_items
from apps.platform.jobs.specforms.spec_form import SpecForm

FILTER = {"/steps/0/kind": "filter", "/steps/0/match": "any"}
CONDITION = {"/steps/0/conditions/0/column": "x", "/steps/0/conditions/0/op": "gt", "/steps/0/conditions/0/value": "1"}


def item(form, pointer):
    return next(found for found in flatten_items(form.items) if found.pointer == pointer)


def kinds(form):
    return [step["kind"] for step in form.values["steps"] or []]


def test_the_kinds_are_offered():
    adds = dict(item(SpecForm("clean"), "/steps").adds)
    assert len(adds) == 22
    assert adds["fill_linear"] == "Fill: straight line"


def test_an_entry_is_added_with_the_defaults_of_its_kind():
    form = SpecForm("clean").bind({"new:/steps": "hampel"})
    assert form.apply("add:/steps")
    assert form.values["steps"] == [
        {"kind": "hampel", "columns": None, "window_size": 7, "threshold": 3.0, "action": "cap"}
    ]
    assert item(form, "/steps/0").label == "Outliers among neighbours 1"
    assert item(form, "/steps/0/kind").control == "hidden"


@pytest.mark.parametrize("kind", ["", "nix"])
def test_without_a_kind_nothing_is_added(kind):
    form = SpecForm("clean").bind({"new:/steps": kind})
    form.apply("add:/steps")
    assert kinds(form) == []


def test_what_was_typed_is_read_by_kind_and_moves():
    form = SpecForm("clean").bind({**FILTER, **CONDITION, "/steps/1/kind": "deduplicate", "/steps/1/keep": "last"})
    assert form.is_valid(), form.errors
    assert form.parsed().steps[0].conditions[0].op == "gt"
    form.apply("up:/steps/1")
    assert kinds(form) == ["deduplicate", "filter"]
    form.apply("add:/steps/1/conditions")
    assert len(form.values["steps"][1]["conditions"]) == 2
    form.apply("del:/steps/0")
    assert kinds(form) == ["filter"]
    assert form.as_json()["steps"][0]["match"] == "any"


def test_an_error_stands_beside_the_field_of_its_step():
    form = SpecForm("clean").bind({**FILTER, **CONDITION, "/steps/1/kind": "hampel", "/steps/1/window_size": "1"})
    assert not form.is_valid()
    assert set(form.errors) == {"/steps/1/window_size"}


def test_a_plan_beside_simple_fields_is_refused():
    form = SpecForm("clean").bind({**FILTER, **CONDITION, "/window_size": "9"})
    assert not form.is_valid()
    assert "leave window_size as it is" in form.errors["/steps"]


def test_offers_of_every_entry():
    form = SpecForm("clean", {"steps": [{"kind": "drop", "columns": ["b"]}, {"kind": "mask"}]})
    form.offers = {"/steps/*/columns": [ListOption("a"), ListOption("b")]}
    assert [(box.label, box.ticked) for box in item(form, "/steps/0/columns").boxes] == [("a", False), ("b", True)]
    assert [box.label for box in item(form, "/steps/1/what").boxes] == ["id_card", "phone", "bank_card", "name"]
