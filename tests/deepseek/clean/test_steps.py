"""Each kind of step on a small table: what it does, and what it refuses, by the pointer of its field."""

import random
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from deepseek.clean.execution import RUNNERS, execute
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps import series
from deepseek.clean.steps.base import StepContext
from deepseek.clean.steps.fences import ALL_EQUAL, fence_rounds
from deepseek.job import EngineError
from deepseek.partitions.rounds import run_rounds
from deepseek.quality.outliers import Fences
from deepseek.tables.batches import TableBatches
from deepseek.tables.streams import ORIGIN_COLUMN


def done(columns, *steps, second=None, key=None):
    """The columns after the steps, as lists."""
    plan = CleanSpec(steps=list(steps)).steps
    other = None if second is None else lambda: TableBatches(pa.table(second))
    result = execute(plan, TableBatches(pa.table(columns), 3), StepContext(second=other, key=key))
    table = pa.Table.from_batches(result.batches, result.batches.schema)
    return {name: table.column(name).to_pylist() for name in table.column_names if name != ORIGIN_COLUMN}


def refused(columns, *steps, **more):
    with pytest.raises(EngineError) as caught:
        done(columns, *steps, **more)
    return caught.value.code, caught.value.field


def test_every_kind_of_the_spec_has_a_runner():
    kinds = CleanSpec.model_json_schema()["properties"]["steps"]["anyOf"][0]["items"]["discriminator"]["mapping"]
    assert set(kinds) | {"simple"} == set(RUNNERS)


@pytest.mark.parametrize(
    ("to", "texts", "wanted"),
    [
        ("integer", ["1", " 2 ", None], [1, 2, None]),
        ("number", ["1.5", "-2e3", ".5"], [1.5, -2000.0, 0.5]),
        ("boolean", ["true", "否", "1"], [True, False, True]),
        ("date", ["2024-02-29", None, "1999-12-31"], ["2024-02-29", None, "1999-12-31"]),
        ("timestamp", ["2024-02-29 01:02:03", None, None], ["2024-02-29 01:02:03", None, None]),
    ],
)
def test_cast_of_text(to, texts, wanted):
    found = done({"t": texts}, {"kind": "cast", "columns": ["t"], "to": to})["t"]
    assert [str(value) if to in ("date", "timestamp") and value else value for value in found] == wanted


def test_cast_by_a_format_and_to_text():
    steps = [
        {"kind": "cast", "columns": ["d"], "to": "date", "format": "%d.%m.%Y"},
        {"kind": "cast", "columns": ["d", "n"], "to": "text"},
    ]
    assert done({"d": ["31.12.2024", None], "n": [1, 2]}, *steps) == {"d": ["2024-12-31", None], "n": ["1", "2"]}


def test_a_value_that_does_not_fit_is_named_by_its_row_or_made_missing():
    columns = {"a": [1, 2, 3, 4, 5], "t": ["1", "2", "3", "4", "n/a"]}
    step = {"kind": "cast", "columns": ["a", "t"], "to": "integer"}
    with pytest.raises(EngineError, match="Row 5 of the column 't' holds 'n/a'") as caught:
        done(columns, step)
    assert (caught.value.code, caught.value.field) == ("value_not_fit", "/steps/0/columns/1")
    assert "make unfit values missing" in caught.value.hint
    assert done(columns, step | {"unfit": "blank"})["t"] == [1, 2, 3, 4, None]


def test_numbers_that_are_not_whole_are_no_integers():
    assert refused({"x": [1.0, 2.5]}, {"kind": "cast", "columns": ["x"], "to": "integer"})[0] == "value_not_fit"
    assert done({"x": [1.0, -0.0]}, {"kind": "cast", "columns": ["x"], "to": "integer"}) == {"x": [1, 0]}


def test_units():
    step = {"kind": "convert", "columns": ["f"], "multiply": 5 / 9, "add": -160 / 9, "from_unit": "°F", "to_unit": "°C"}
    assert done({"f": [32.0, 212.0, None]}, step)["f"] == [pytest.approx(0, abs=1e-9), pytest.approx(100), None]
    assert done({"k": [1, None]}, {"kind": "convert", "columns": ["k"], "multiply": 1000})["k"] == [1000, None]


@pytest.mark.parametrize("size", [1, 3])
def test_integers_that_do_not_fit_their_type_make_it_wider(size):
    def converted(kind, multiply):
        plan = CleanSpec(steps=[{"kind": "convert", "columns": ["k"], "multiply": multiply}]).steps
        table = pa.table({"k": pa.array([1, tops[kind], None], getattr(pa, kind)())})
        result = execute(plan, TableBatches(table, size), StepContext())
        column = pa.Table.from_batches(result.batches, result.batches.schema).column("k")
        return str(column.type), column.to_pylist()

    kinds = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    tops = {kind: min(2 ** (int(kind.strip("uint")) - kind.startswith("int")) - 1, 2**50) for kind in kinds}
    wanted = {}
    for kind, top in tops.items():
        wanted[kind, 1] = (kind, [1, top, None])
        wanted[kind, -4] = ("int64", [-4, -4 * top, None])
        wanted[kind, 0.75] = ("double", [0.75, 0.75 * top, None])
        if top < 2**40:
            wanted[kind, 1000] = ("int64", [1000, 1000 * top, None])
    assert {case: converted(*case) for case in wanted} == wanted


def test_integers_beyond_what_is_exact_are_refused():
    columns = {"k": pa.array([1, 2_000_000_000], pa.int32())}
    found = refused(columns, {"kind": "convert", "columns": ["k"], "multiply": 1e9})
    assert found == ("inexact_integers", "/steps/0/columns/0")


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("x + k * 2", [5.0, None, 5.0]),
        ("-x ** 2", [-1.0, -4.0, -9.0]),
        ("1 / (x - 1)", [None, 1.0, 0.5]),
        ("max(x, 2) - min(x, 2)", [1.0, 0.0, 1.0]),
        ("round(`x y` / 3)", [3.0, 3.0, 4.0]),
        ("2", [2.0, 2.0, 2.0]),
    ],
)
def test_derive(expression, wanted):
    columns = {"x": [1.0, 2.0, 3.0], "k": [2, None, 1], "x y": [9, 10, 11]}
    assert done(columns, {"kind": "derive", "name": "y", "expression": expression})["y"] == wanted


def test_names_and_choice_of_columns():
    columns = {"a": [1], "b": [2], "c": [3]}
    swap = [{"column": "a", "name": "x"}, {"column": "b", "name": "a"}]
    assert done(columns, {"kind": "rename", "names": swap}) == {"x": [1], "a": [2], "c": [3]}
    assert list(done(columns, {"kind": "keep", "columns": ["c", "a"]})) == ["c", "a"]
    assert list(done(columns, {"kind": "drop", "columns": ["b"]})) == ["a", "c"]
    assert refused(columns, {"kind": "drop", "columns": ["a", "b", "c"]}) == ("no_column_left", "/steps/0/columns")
    taken = {"kind": "rename", "names": [{"column": "a", "name": "b"}]}
    assert refused(columns, taken) == ("column_exists", "/steps/0/names/0/name")


def test_text_is_normalised():
    step = {"kind": "normalise_text", "punctuation": True, "case": "lower"}
    assert done({"t": ["  ＡＢＣ１２３ ", "x\t\ty", "中文，好。", "　"]}, step)["t"] == [
        "abc123",
        "x y",
        "中文,好.",
        None,
    ]
    step = {"kind": "replace_text", "find": r"(\d+)元", "put": r"CNY \1", "pattern": True}
    assert done({"t": ["12元", "x"]}, step)["t"] == ["CNY 12", "x"]
    assert refused({"t": ["a"]}, step | {"find": "("}) == ("bad_pattern", "/steps/0/find")


def test_join_of_a_second_table():
    step = {"kind": "join", "on": ["k"]}
    second = {"k": [2, 1, 7], "x": ["two", "one", "seven"], "v": [20, 10, 70]}
    columns = {"k": [1, 2, 3, None], "x": [1, 2, 3, 4]}
    wanted = {**columns, "x_right": ["one", "two", None, None], "v": [10, 20, None, None]}
    assert done(columns, step, second=second) == wanted
    assert done(columns, step | {"how": "inner", "take": ["v"]}, second=second)["v"] == [10, 20]
    assert refused(columns, step) == ("no_second_table", "/steps/0")


def test_duplicate_keys_of_a_join_are_refused_unless_they_are_meant():
    columns, second = {"k": [1, 2]}, {"k": [1, 2, 1], "v": ["a", "b", "c"]}
    with pytest.raises(EngineError, match="'1' stands in row 1 and in row 3 of the second table") as caught:
        done(columns, {"kind": "join", "on": ["k"]}, second=second)
    assert (caught.value.code, caught.value.field) == ("duplicate_keys", "/steps/0/on")
    assert done(columns, {"kind": "join", "on": ["k"], "many": True}, second=second) == {
        "k": [1, 1, 2],
        "v": ["a", "c", "b"],
    }


@pytest.mark.parametrize("keys", [2, 3, 6, 8])
def test_a_join_on_several_keys_of_many_values_finds_every_partner(keys):
    """The product of the numbers of their values goes beyond 64 bits."""
    rows = 2000
    names = [f"k{place}" for place in range(keys)]
    second = {name: [(row * 7919 + place * place) % rows for row in range(rows)] for place, name in enumerate(names)}
    first = {name: [*values[::-1], None] for name, values in second.items()}
    first["k0"][5] = first["k0"][6]  # no partner any more, unlike the one that it was
    found = done(first, {"kind": "join", "on": names}, second=second | {"v": list(range(rows))})["v"]
    wanted = [*range(rows - 1, rows - 6, -1), None, *range(rows - 7, -1, -1), None]
    assert found == wanted


def test_a_join_on_three_keys_is_that_of_equal_tuples():
    draw = random.Random(5)
    names = ["a", "b", "c"]
    first, second = ({name: [draw.choice([None, 1, 2, 3]) for _ in range(60)] for name in names} for _ in range(2))
    held = list(zip(*second.values(), strict=True))
    wanted = [
        [place for place, theirs in enumerate(held) if None not in ours and theirs == ours] or [None]
        for ours in zip(*first.values(), strict=True)
    ]
    step = {"kind": "join", "on": names, "many": True}
    found = done(first, step, second=second | {"v": list(range(60))})["v"]
    assert found == [place for places in wanted for place in places]


def test_keys_of_different_types_are_refused():
    assert refused({"k": ["1"]}, {"kind": "join", "on": ["k"]}, second={"k": [1], "v": [2]})[0] == "join_key_type"


def test_flags_of_outliers():
    found = done({"x": [1.0, 2, 3, 2, 900]}, {"kind": "outliers", "method": "iqr"})
    assert found["x__outlier"] == [False, False, False, False, True]
    found = done({"x": [1.0, 1, 50, 1, 1]}, {"kind": "hampel", "window_size": 3})
    assert found["x"] == [1.0] * 5


def test_linear_along_a_column():
    columns = {"t": [0, 1, 10], "x": [0.0, None, 100.0]}
    assert done(columns, {"kind": "fill_linear", "columns": ["x"], "along": "t"})["x"] == [0.0, 10.0, 100.0]
    assert done(columns, {"kind": "fill_linear", "columns": ["x"]})["x"] == [0.0, 50.0, 100.0]
    falls = {"t": [0, 2, 1, 5], "x": [0.0, None, None, 1.0]}
    step = {"kind": "fill_linear", "columns": ["x"], "along": "t"}
    assert refused(falls, step) == ("not_ascending", "/steps/0/along")


@pytest.mark.parametrize(
    ("step", "code", "field"),
    [
        ({"kind": "fill_median", "columns": ["x", "nix"]}, "unknown_column", "/steps/1/columns/1"),
        ({"kind": "fill_median", "columns": ["t"]}, "column_not_numeric", "/steps/1/columns/0"),
        ({"kind": "normalise_text", "columns": ["x"]}, "column_not_text", "/steps/1/columns/0"),
        ({"kind": "fill_constant", "columns": ["x"], "value": "many"}, "value_not_fit", "/steps/1/value"),
        ({"kind": "fill_group", "by": ["g"]}, "unknown_column", "/steps/1/by/0"),
        ({"kind": "derive", "name": "y", "expression": "x + z"}, "unknown_column", "/steps/1/expression"),
        ({"kind": "regularise", "column": "x"}, "column_not_time", "/steps/1/column"),
        (
            {"kind": "filter", "conditions": [{"column": "x", "op": "contains", "value": "1"}]},
            "column_not_text",
            "/steps/1/conditions/0/column",
        ),
        ({"kind": "mask", "how": "pseudonym"}, "no_pseudonym_key", "/steps/1/how"),
        ({"kind": "cast", "columns": ["x"], "to": "date"}, "column_not_fit", "/steps/1/columns/0"),
    ],
)
def test_refusals_name_the_field_of_the_step(step, code, field):
    columns = {"x": [1.0, None], "t": ["a", "b"]}
    assert refused(columns, {"kind": "drop_missing", "columns": ["t"]}, step) == (code, field)


DAY = date(2024, 1, 1)


def regularised(kind, values, aggregate, days=None):
    """A column of integers, all of one day unless `days` tells, brought to days."""
    columns = {"d": pa.array(days or [DAY] * len(values)), "x": pa.array(values, kind)}
    return done(columns, {"kind": "regularise", "column": "d", "aggregate": aggregate})["x"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int32(), [2**31 - 1, 2**31 - 1, None]),
        (pa.int8(), [-128, -128]),
        (pa.uint32(), [2**32 - 1, 1]),
        (pa.int64(), [2**63 - 1, -(2**63), 2**63 - 1]),
        (pa.int64(), [-(2**62), -(2**62)]),
        (pa.uint64(), [2**63 - 2, 1]),
    ],
)
def test_sums_of_integers_have_64_bits(kind, values):
    assert regularised(kind, values, "sum") == [sum(value or 0 for value in values)]


def test_a_sum_of_no_value_is_missing():
    days = [DAY, date(2024, 1, 3), date(2024, 1, 3)]
    assert regularised(pa.int16(), [None, 3, None], "sum", days) == [None, None, 3]


@pytest.mark.parametrize(
    ("kind", "values"),
    [(pa.int64(), [2**63 - 1, 1]), (pa.int64(), [-(2**63), -1]), (pa.uint64(), [2**63, 0]), (pa.uint64(), [2**64 - 1])],
)
def test_a_sum_beyond_64_bits_is_refused_by_its_interval(kind, values):
    with pytest.raises(EngineError, match="the column 'x' in the interval from 2024-01-01 does not fit") as caught:
        regularised(kind, values, "sum")
    assert (caught.value.code, caught.value.field) == ("value_not_fit", "/steps/0/aggregate")


@pytest.mark.parametrize(("aggregate", "wanted"), [("min", 5), ("max", 2**64 - 1)])
def test_the_least_and_the_greatest_of_large_integers_are_exact(aggregate, wanted):
    assert regularised(pa.uint64(), [2**64 - 1, 5, None, 2**64 - 2], aggregate) == [wanted]


def test_a_mean_of_floats_is_taken():
    assert regularised(pa.float64(), [1.5, None, 2.5], "mean") == [2.0]


def test_too_many_inserted_rows_are_refused(monkeypatch):
    monkeypatch.setattr(series, "MAX_INSERTED_ROWS", 1)
    columns, step = {"d": [DAY, date(2024, 1, 3)]}, {"kind": "regularise", "column": "d"}
    assert len(done(columns, step)["d"]) == 3
    columns["d"][1] = date(2024, 1, 4)
    assert refused(columns, step) == ("too_many_inserted", "/steps/0/every")


def test_filling_backward_refuses_other_batches_than_it_prepared_for():
    step, table = CleanSpec(steps=[{"kind": "fill_backward"}]).steps[0], pa.table({"x": [None, 1.0, None, 2.0]})
    runner = RUNNERS["fill_backward"](step, table.schema, StepContext())
    run_rounds(runner.rounds(), TableBatches(table, 2))
    with pytest.raises(RuntimeError, match="not those of the first"):
        list(runner(iter(TableBatches(table, 3))))


def test_equal_values_have_no_outliers_by_their_mean():
    step = CleanSpec(steps=[{"kind": "outliers", "method": "z_score", "action": "cap"}]).steps[0]
    fences = run_rounds(fence_rounds(step, lambda _: iter([np.array([2.0, 2.0])])), None)
    assert fences == Fences(-np.inf, np.inf, ALL_EQUAL)
