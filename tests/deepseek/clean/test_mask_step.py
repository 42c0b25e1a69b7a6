"""The step mask: which columns it takes, what type they have then, and what it says of cells that stay."""

import pyarrow as pa
import pytest

from deepseek.clean.execution import execute
from deepseek.clean.explain import explain
from deepseek.clean.personal_data import compute_id_check, compute_luhn_digit, is_bank_card
from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.job import EngineError, Silent
from deepseek.tables.batches import TableBatches
from tests.deepseek.clean.test_personal_data import hiding

KEY = bytes(range(32))
PHONE, CARD = 13800138000, 6222021234567894


def masked(given, size=1000, **fields):
    """({name: (type, values)}, warnings, cells changed)."""
    plan = CleanSpec(steps=[{"kind": "mask", **fields}]).steps
    done = execute(plan, TableBatches(pa.table(given), size), StepContext(key=KEY))
    table = pa.Table.from_batches(done.batches, done.batches.schema)
    told = {name: (str(table.column(name).type), table.column(name).to_pylist()) for name in table.column_names}
    return told, done.warnings, done.runners[0].cells


def test_a_default_mask_hides_phones_and_cards_of_a_csv_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"phone,card,n\n{PHONE},{CARD},7\n,,8\n")
    spec = CleanSpec(steps=[{"kind": "mask"}])
    result = run(spec, inputs={"table": path}, out=tmp_path / "out", report=Silent())
    after = (tmp_path / "out" / "quality_after.json").read_text()
    assert str(PHONE) not in after and str(CARD) not in after  # noqa: PT018
    kinds = {one["name"]: one["dtype"] for one in result.outputs[0].meta["columns"]}
    assert kinds == {"phone": "string", "card": "string", "n": "int64"}
    assert result.summary["steps"][0]["columns"] == {"phone": 1, "card": 1}
    told = explain(spec, path)
    assert {(one["before"], one["after"]) for one in told["changes"]} == {
        (str(PHONE), "138****8000"),
        (str(CARD), "************7894"),
    }


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("kind", ["int64", "uint64", "float64"])
def test_numbers_become_text_with_asterisks_and_keep_their_type_with_pseudonyms(kind, size):
    values = pa.array([5, PHONE, None, CARD, PHONE], kind)
    told, warnings, cells = masked({"k": values}, size)
    assert told["k"] == ("string", ["5", "138****8000", None, "************7894", "138****8000"])
    assert (len(warnings), cells) == (1, {"k": 3})
    hide = hiding(["phone", "bank_card"], "pseudonym", KEY)
    wanted = [5, int(hide(str(PHONE))), None, int(hide(str(CARD))), int(hide(str(PHONE)))]
    told, warnings, cells = masked({"k": values}, size, how="pseudonym")
    assert told["k"] == (str(values.type), wanted)
    assert (warnings, cells) == ([], {"k": 3})


@pytest.mark.parametrize("size", [1, 1000])
def test_a_pseudonym_that_no_number_of_the_type_can_be_makes_the_column_text(size):
    """One that ends in X; one beyond 63 bits; one that a float would round."""
    hide = hiding(["id_card", "bank_card"], "pseudonym", KEY)
    cards = [int(f"{n}{compute_luhn_digit(str(n))}") for n in range(922337000000000000, 922337000000000400)]
    large = next(one for one in cards if int(hide(str(one))) >= 2**63)
    float_card = next(
        n for n in range(9007190000000000, 9007190000010000) if is_bank_card(str(n)) and int(hide(str(n))) > 2**53
    )
    bodies = [f"31010519491231{order:03d}" for order in range(1000)]
    ids = [int(body + compute_id_check(body)) for body in bodies if compute_id_check(body) != "X"]
    ends_in_x = next(one for one in ids if hide(str(one)).endswith("X"))
    for value, kind in ((ends_in_x, "int64"), (large, "int64"), (float_card, "float64")):
        told, *_ = masked({"k": pa.array([1, value], kind)}, size, how="pseudonym")
        assert told["k"] == ("string", ["1", hide(str(value))])
    told, *_ = masked({"k": pa.array([1, large], "uint64")}, size, how="pseudonym")
    assert told["k"] == ("uint64", [1, int(hide(str(large)))])


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "float16", "float32", "float64"])
def test_numbers_in_which_nothing_is_found_stay(kind):
    values = pa.array([1, None, 100], kind)
    told, warnings, cells = masked({"k": values})
    assert (told["k"], warnings, cells) == ((str(values.type), [1, None, 100]), [], {})


def test_the_digits_of_other_cells_stay_where_a_column_becomes_text():
    told, *_ = masked({"k": pa.array([2.5, 2.0, 25000000000.0, float(PHONE), -0.0])})
    assert told["k"] == ("string", ["2.5", "2", "25000000000", "138****8000", "0"])


def test_names_that_are_not_found_are_counted():
    names = {"name": ["张三", "温建国", "John Smith", "", None, "温建国"]}
    told, warnings, _ = masked(names, 2, columns=["name"], what=["name"])
    assert told["name"][1] == ["张*", "温建国", "John Smith", "", None, "温建国"]
    assert warnings == ["Column 'name': 3 cells stay as they are, for nothing to hide was found; see Other cells."]
    assert masked(names, what=["name"])[1] == []
    assert masked({"name": ["张三"]}, columns=["name"], what=["name"])[1] == []


def test_every_other_cell_of_a_column_can_be_hidden():
    columns = {"name": ["张三", "温建国", "", None], "k": [7, PHONE, None, 7]}
    fields = {"columns": ["name", "k"], "what": ["name", "phone"], "rest": "hide"}
    told, _, cells = masked(columns, **fields)
    assert told == {
        "name": ("string", ["张*", "***", "", None]),
        "k": ("string", ["***", "138****8000", None, "***"]),
    }
    assert cells == {"name": 2, "k": 3}
    told, *_ = masked(columns, 1, how="pseudonym", **fields)
    assert told["k"][1][0] == told["k"][1][3] != told["name"][1][1]
    assert all(len(text) == 17 and text[0] == "P" for text in (told["k"][1][0], told["name"][1][1]))


def test_columns_must_be_named_to_hide_every_other_cell():
    with pytest.raises(ValueError, match="Name the columns"):
        CleanSpec(steps=[{"kind": "mask", "rest": "hide"}])


def test_a_column_of_neither_texts_nor_numbers_is_refused():
    with pytest.raises(EngineError) as caught:
        masked({"b": [True]}, columns=["b"])
    assert (caught.value.code, caught.value.field) == ("column_not_text", "/steps/0/columns/0")
