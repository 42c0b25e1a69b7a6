"""What a plan would change, told step by step, is what it changes."""

import pytest

from deepseek.clean.explain import explain, format_lines
from deepseek.clean.explain_plan import OTHER_KEY
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError

TEXT = "d,x,t\n" + "".join(
    f"2024-01-{n:02d},{'' if n == 3 else 900 if n == 5 else n},a{n % 2}\n" for n in (1, 2, 3, 4, 5, 8)
)
STEPS = [
    {"kind": "outliers", "columns": ["x"], "action": "blank"},
    {"kind": "fill_linear", "columns": ["x"]},
    {"kind": "regularise", "column": "d"},
    {"kind": "deduplicate", "columns": ["t"]},
    {"kind": "drop", "columns": ["t"]},
]


@pytest.fixture
def told(write):
    return lambda steps=STEPS, **more: explain(CleanSpec(steps=steps), write(TEXT), **more)


def test_each_step_is_told(told):
    document = told()
    counts = [
        (s["step"], s["cells"], s["rows_before"], s["rows_after"], s["rows_dropped"], s["rows_added"])
        for s in document["steps"]
    ]
    assert counts == [
        ("outliers", 1, 6, 6, 0, 0),
        ("fill_linear", 2, 6, 6, 0, 0),
        ("regularise", 0, 6, 8, 0, 2),
        ("deduplicate", 0, 8, 3, 4, -1),
        ("drop", 0, 3, 3, 0, 0),
    ]
    assert document["steps"][3]["dropped_rows"] == [3, 4, 5, 6]
    assert (document["rows"], document["rows_after"], document["columns_dropped"]) == (6, 3, ["t"])


def test_a_column_is_told_with_its_types_before_and_after(told):
    (column,) = [c for c in told([{"kind": "cast", "columns": ["x"], "to": "text"}])["columns"] if c["name"] == "x"]
    assert (column["dtype"], column["dtype_after"]) == ("int64", "string")


def test_cells_are_told_with_their_step_and_why(told):
    cells = [(c["step"], c["row"], c["column"], c["before"], c["after"], c["why"]) for c in told()["changes"]]
    assert cells == [
        (1, 5, "x", "900", None, "blanked"),
        (2, 3, "x", None, "3", "filled"),
        (2, 5, "x", None, "6", "filled"),
    ]


def test_a_fault_names_the_field_of_its_step(told):
    with pytest.raises(EngineError) as caught:
        told([*STEPS, {"kind": "keep", "columns": ["t"]}])
    assert caught.value.field == "/steps/5/columns/0"


def test_pseudonyms_are_shown_under_a_key_of_their_own(told):
    assert told([{"kind": "mask", "how": "pseudonym"}])["warnings"] == [OTHER_KEY]


def test_a_second_table_is_looked_at(told, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("t,v\na0,1\na1,2\n")
    document = told([{"kind": "join", "on": ["t"]}], more={"join": other})
    assert document["columns_added"] == ["v"]


def test_told_to_a_person(told):
    lines = list(format_lines(told()))
    assert "2. fill_linear: 2 cells change (6 -> 6 rows)" in lines
    assert "3. regularise: 2 rows added (6 -> 8 rows)" in lines
