from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

import pytest
from django.http import QueryDict
from django.template.loader import render_to_string as render_with_layout
from pydantic import BaseModel, ConfigDict, Field

from apps.core.errors import Invalid
from apps.platform.jobs import kinds
from apps.platform.jobs.spec_validation import parse_spec, serialize_spec
from apps.platform.jobs.specforms.fields import ListOption, flatten_items
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.platform.jobs.specforms.typed_lists import join_entries, split_entries
from tests.html_layout import drop_layout


def render_to_string(template, context):
    return drop_layout(render_with_layout(template, context))


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")
    column: str = Field(min_length=1, title="Column")
    scale: float | None = Field(None, gt=0, title="Scale", json_schema_extra={"unit": "m"})


class Extra(BaseModel):
    model_config = ConfigDict(extra="forbid")
    note: str = ""


class TrySpec(BaseModel):
    """Everything that the walk knows."""

    model_config = ConfigDict(extra="forbid")
    steps: list[Step] = Field(default_factory=list, max_length=3, title="Steps")
    mode: Literal["", "a", 2] = "a"  # type: ignore[valid-type]
    ready: bool = True
    sure: bool | None = None
    extra: Extra | None = None
    shape: tuple[int, int] | None = None
    weights: dict[str, float] = Field(default_factory=dict)
    count: int = Field(5, ge=1, le=9000, title="Count")


@pytest.fixture
def form(monkeypatch):
    entry = kinds.JobKind(label="Try", doc="", spec=TrySpec, queue="cpu", network=kinds.Network.NONE)
    monkeypatch.setitem(kinds.KINDS, "try", entry)
    return lambda **data: SpecForm("try").bind({k.replace("__", "/"): v for k, v in data.items()})


def item(form, pointer):
    return next(found for found in flatten_items(form.items) if found.pointer == pointer)


def sent(form) -> dict[str, str]:
    """What a browser sends back when nothing is touched."""
    fields = [i for i in flatten_items(form.items) if i.kind == "field"]
    return {i.pointer: "true" if i.value is True else str(i.value) for i in fields if i.value is not False}


@pytest.mark.parametrize("kind", ["noop", "clean"])
def test_untouched_it_is_the_default_spec(kind):
    again = SpecForm(kind).bind(sent(SpecForm(kind)))
    assert again.is_valid(), (again.error, again.errors)
    assert serialize_spec(parse_spec(kind, again.spec(), strict=False)) == serialize_spec(parse_spec(kind, {}))


def test_untouched_but_for_what_it_asks_the_train_form_is_the_default_spec():
    asked = {"task": "forecast", "target": "WTI"}
    again = SpecForm("train").bind(sent(SpecForm("train")) | {f"/{name}": value for name, value in asked.items()})
    assert again.is_valid(), (again.error, again.errors)
    assert serialize_spec(parse_spec("train", again.spec(), strict=False)) == serialize_spec(parse_spec("train", asked))


def test_a_choice_without_a_default_is_not_made_for_the_reader():
    form = SpecForm("train")
    assert item(form, "/task").choices[0][0] == ""
    assert not form.bind(sent(form)).is_valid()
    assert form.errors["/task"] == "Field required"


def test_numbers_are_a_line_with_the_limits_of_each():
    hidden = item(SpecForm("train"), "/hidden")
    assert (hidden.control, hidden.value, hidden.unit) == ("text", "64, 64", "units")
    assert hidden.limit == "each 1 to 16,384, at most 32 entries"


@pytest.mark.parametrize(
    ("text", "numbers"), [("128, 64", [128, 64]), ("128\n64", [128, 64]), ("", []), (" , ", []), (None, [64, 64])]
)
def test_a_list_of_numbers(text, numbers):
    data = {"/task": "regression", "/target": "y"} | ({"/hidden": text} if text is not None else {})
    form = SpecForm("train").bind(data)
    assert form.is_valid(), form.errors
    assert parse_spec("train", form.spec(), strict=False).hidden == numbers


@pytest.mark.parametrize("text", ["64, x", "0", "64.5", "20000"])
def test_a_number_of_nonsense_stands_beside_the_list(text):
    form = SpecForm("train").bind({"/task": "regression", "/target": "y", "/hidden": text})
    assert not form.is_valid()
    assert list(form.errors) == ["/hidden"]
    assert item(form, "/hidden").value == text


def test_a_group_in_a_group_keeps_its_own_errors():
    form = SpecForm("train").bind({"/task": "regression", "/target": "y", "/schedule/max_lr": "1e-9"})
    assert not form.is_valid()
    assert list(form.errors) == ["/schedule/max_lr"]


def test_takes_any_model_offers_names_and_opens_groups_with_errors():
    form = SpecForm(TrySpec)
    form.datalists, form.folded = {"/count": "counts"}, frozenset({"/extra"})
    html = render_to_string("components/form.html", {"form": form})
    assert 'list="counts"' in html
    assert '<details class="group" data-pointer="/extra" ' in html
    form.errors["/extra/note"] = "wrong"
    assert 'id="f-extra-g" open>' in render_to_string("components/form.html", {"form": form})


def test_what_is_left_out_is_neither_drawn_nor_read():
    form = SpecForm("clean")
    form.left_out = frozenset({"/csv/delimiter"})
    assert "/csv/delimiter" not in {each.pointer for each in flatten_items(form.items)}
    form.bind({"/csv/delimiter": "|", "/csv/encoding": "gb18030"})
    assert form.spec()["csv"] == {"encoding": "gb18030"}


def test_draws_each_field_with_unit_limit_and_choices():
    form = SpecForm("clean")
    window = item(form, "/window_size")
    assert (window.control, window.value, window.unit, window.limit) == ("number", 5, "rows", "1 to 100,001")
    method = item(form, "/outliers/method")
    assert (method.control, method.value) == ("select", "none")
    assert [value for value, _word in method.choices] == ["none", "iqr", "robust_z"]
    assert item(form, "/outliers").kind == "group"
    assert item(form, "/csv/missing_tokens").value.startswith('""\nNA\n')


def test_errors_stand_beside_their_fields():
    data = {"/window_size": "0", "/outliers/threshold": "x", "/columns": "a, a", "/csv/delimiter": "ab"}
    form = SpecForm("clean").bind(data)
    assert not form.is_valid()
    assert set(form.errors) == {"/window_size", "/outliers/threshold", "/columns", "/csv/delimiter"}
    assert item(form, "/window_size").value == "0"
    assert item(form, "/window_size").error.startswith("Input should be greater than")


def test_an_error_in_a_typed_list_stands_beside_the_list():
    form = SpecForm("clean").bind({"/csv/missing_tokens": "a," + "x" * 101})
    assert not form.is_valid()
    assert list(form.errors) == ["/csv/missing_tokens"]


def test_errors_of_the_submission_come_at_the_top():
    form = SpecForm("clean")
    form.add_errors([{"field": "/inputs/table", "message": "The input table is not filled."}])
    form.add_errors([{"field": "/spec/window_size", "message": "/spec/window_size: too wide"}])
    assert form.error == "The input table is not filled."
    assert form.errors == {"/window_size": "too wide"}


@pytest.mark.parametrize(
    ("data", "name", "value"),
    [
        ({"/mode": ""}, "mode", ""),
        ({"/mode": "2"}, "mode", 2),
        ({}, "ready", False),
        ({"/ready": "true"}, "ready", True),
        ({"/sure": ""}, "sure", None),
        ({"/sure": "false"}, "sure", False),
        ({}, "extra", None),
        ({"/extra/note": "x"}, "extra", {"note": "x"}),
        ({"/shape": "[1, 2]"}, "shape", (1, 2)),
        ({"/shape": ""}, "shape", None),
        ({"/weights": '{"a": 1}'}, "weights", {"a": 1.0}),
        ({"/count": " 7 "}, "count", 7),
        ({"/count": ""}, "count", 5),
    ],
)
def test_reads_text_as_the_schema_says(form, data, name, value):
    bound = form(**data)
    assert bound.is_valid(), (bound.error, bound.errors)
    assert parse_spec("try", bound.spec(), strict=False).model_dump()[name] == value


@pytest.mark.parametrize("data", [{"/shape": "[1"}, {"/weights": "[" * 5000}, {"/count": "1e999"}, {"/mode": "b"}])
def test_nonsense_is_an_error_beside_its_field(form, data):
    bound = form(**data)
    assert not bound.is_valid()
    assert list(bound.errors) == list(data)


def test_a_list_grows_and_shrinks_and_keeps_what_was_typed(form):
    bound = form(**{"/steps/0/column": "a", "/steps/1/column": "b", "/steps/1/scale": "2"})
    assert bound.apply("add:/steps")
    assert [step.label for step in item(bound, "/steps").items] == ["Step 1", "Step 2", "Step 3"]
    bound.apply("add:/steps")  # above the limit of three
    bound.apply("del:/steps/0")
    assert bound.spec()["steps"] == [{"column": "b", "scale": "2"}, {"scale": None}]
    assert not bound.is_valid()
    assert list(bound.errors) == ["/steps/1/column"]


@pytest.mark.parametrize(
    ("op", "order"),
    [("up:/steps/1", "bac"), ("down:/steps/1", "acb"), ("up:/steps/0", "abc"), ("down:/steps/2", "abc")],
)
def test_an_entry_changes_places_with_its_neighbour(form, op, order):
    bound = form(**{f"/steps/{place}/column": name for place, name in enumerate("abc")})
    assert bound.apply(op)
    assert "".join(step["column"] for step in bound.spec()["steps"]) == order


@pytest.fixture
def clean_form():
    """The form of a cleaning whose columns are picked from those of a table."""
    form = SpecForm("clean")
    form.offers = {
        "/columns": [
            ListOption("close", "double"),
            ListOption('a, "b"', "int64"),
            ListOption("day", "string", fits=False),
        ]
    }
    return form


def test_columns_are_ticked_and_read_back(clean_form):
    clean_form.bind(QueryDict(urlencode([("/columns", "close"), ("/columns", '"a, ""b"""')])))
    assert clean_form.spec()["columns"] == ["close", 'a, "b"']
    drawn = item(clean_form, "/columns")
    assert drawn.control == "boxes"
    assert [(box.label, box.ticked, box.unfit) for box in drawn.boxes] == [
        ("close", True, False),
        ('a, "b"', True, False),
        ("day", False, True),
    ]


def test_what_was_typed_for_another_table_stays_and_says_so(clean_form):
    clean_form.bind(QueryDict("/columns=open"))
    assert [(box.label, box.note) for box in item(clean_form, "/columns").boxes if box.ticked] == [
        ("open", "not in this table")
    ]


def test_no_tick_is_every_column(clean_form):
    assert clean_form.bind(QueryDict("")).spec()["columns"] is None
    assert 'type="checkbox"' in render_to_string("components/form.html", {"form": clean_form})


def test_the_default_stands_by_its_field():
    told = {each.pointer: each.default for each in flatten_items(SpecForm("train").items)}
    assert (told["/lags"], told["/hidden"], told["/split"], told["/schedule/init_lr"]) == (
        "20",
        "64, 64",
        "auto",
        "0.0001",
    )
    assert told["/target"] == told["/features"] == ""


def test_a_phone_shows_the_keys_that_the_number_takes():
    keys = {each.pointer: each.keys for each in flatten_items(SpecForm("train").items)}
    assert (keys["/lags"], keys["/test_share"], keys["/target"]) == ("numeric", "decimal", "")


def test_rare_fields_stand_apart_and_open_when_changed():
    form = SpecForm("train")
    form.rare = frozenset({"/seed", "/threads"})
    apart = form.items[-1]
    assert [each.pointer for each in apart.items] == ["/seed", "/threads"]
    assert (apart.folded, apart.open) == (True, False)
    form.bind(sent(form) | {"/task": "forecast", "/target": "y", "/seed": "7"})
    assert form.items[-1].open
    form.bind({"/seed": "x"}).is_valid()
    assert form.items[-1].open


def test_several_errors_are_listed_with_links():
    form = SpecForm("clean").bind({"/window_size": "0", "/csv/delimiter": "ab"})
    form.is_valid()
    html = render_to_string("components/form.html", {"form": form})
    assert '<a href="#f-window_size">' in html
    assert '<a href="#f-csv-delimiter">' in html


def test_as_json_it_is_what_rest_takes():
    form = SpecForm("clean").bind({"/window_size": "7", "/outliers/method": "iqr", "/columns": "a"})
    body = form.as_json()
    assert body == {"window_size": 7, "outliers": {"method": "iqr"}, "columns": ["a"]}
    assert parse_spec("clean", body, strict=True) == form.parsed()
    assert SpecForm("clean").bind({"/window_size": "x"}).as_json()["window_size"] == "x"


@pytest.mark.parametrize(
    "op", ["add:/nothing", "del:/steps/9", "del:/steps/x", "add:/steps/0", "add:", "del:", "add:/count"]
)
def test_a_forged_button_changes_nothing(form, op):
    bound = form(**{"/steps/0/column": "a"})
    before = bound.spec()["steps"]
    assert bound.apply(op)
    assert bound.spec()["steps"] == before


def test_a_forged_index_makes_no_million_rows(form):
    assert len(form(**{"/steps/99999/column": "a"}).spec()["steps"]) == 0
    assert len(form(**{"/steps/9999/column": "a"}).spec()["steps"]) == 1000


@pytest.mark.parametrize("op", ["submit", "check", ""])
def test_other_buttons_are_left_to_the_view(form, op):
    assert not form().apply(op)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a, b\nc", ["a", "b", "c"]),
        ('"", "x,y"', ["", "x,y"]),
        ('"a ""b"""', ['a "b"']),
        (" , \r\n", []),
        ('5" x', ['5" x']),
    ],
)
def test_lists_as_text(text, entries):
    assert split_entries(text) == entries
    assert split_entries(join_entries(entries)) == entries


def test_renders_with_the_template(form):
    form = SpecForm("clean").bind(QueryDict("/window_size=0"))
    form.is_valid()
    html = render_to_string("components/form.html", {"form": form})
    assert 'name="/outliers/method"' in html
    assert 'aria-invalid="true"' in html
    assert "pattern=" not in html


def test_unknown_kind():
    with pytest.raises(Invalid):
        SpecForm("nop")
