"""What a plan masks stays masked in everything that is kept with its table: the report, the drift, the log."""

import json

import pytest

from deepseek.clean.masks import find_masked_by_step
from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent

PHONES = ("13812345678", "13912345678", "138-1234-9999")
MASK = {"kind": "mask", "columns": ["number"], "what": ["phone"], "how": "mask"}


class Listening(Silent):
    def __init__(self):
        self.said = []

    def log(self, text, level="info"):
        self.said.append(text)


def steps_of(*steps):
    return CleanSpec.model_validate({"steps": steps}).steps


def cleaned(tmp_path, *steps):
    path, out, report = tmp_path / "table.csv", tmp_path / "out", Listening()
    path.write_text("phone,x\n" + "".join(f"{PHONES[2 if n == 40 else n % 2]},{n}\n" for n in range(41)))
    result = run(CleanSpec.model_validate({"steps": steps}), inputs={"table": path}, out=out, report=report)
    return json.dumps(result.summary), (out / "quality_after.json").read_text(), "\n".join(report.said)


def test_no_masked_value_is_in_the_report_the_summary_or_the_log(tmp_path):
    for told in cleaned(tmp_path, {**MASK, "columns": ["phone"]}):
        assert not any(phone in told for phone in PHONES)


def test_nor_of_a_column_that_was_called_otherwise(tmp_path):
    for told in cleaned(tmp_path, RENAME, MASK):
        assert not any(phone in told for phone in PHONES)


def test_nor_where_the_mask_names_no_column(tmp_path):
    for told in cleaned(tmp_path, {**MASK, "columns": None}):
        assert not any(phone in told for phone in PHONES)


CAST = {"kind": "cast", "columns": ["phone"], "to": "integer"}
BACK = {"kind": "cast", "columns": ["phone", "x"], "to": "text"}  # what is masked is text
RENAME = {"kind": "rename", "names": [{"column": "phone", "name": "number"}]}


@pytest.mark.parametrize(
    "later",
    [
        [{**MASK, "columns": ["phone"]}],
        [{**MASK, "columns": None}],
        [RENAME, MASK],
    ],
)
def test_a_cast_names_the_row_and_the_column_and_quotes_no_cell_that_a_later_step_masks(tmp_path, later):
    with pytest.raises(EngineError) as refused:
        cleaned(tmp_path, CAST, BACK, *later)
    error = refused.value
    assert "Row 41 of the column 'phone' holds '***'" in error.message
    assert error.value == "***"
    assert not any(phone in json.dumps(error.as_dict()) for phone in PHONES)


def test_a_cast_of_a_column_that_no_step_masks_quotes_its_cell(tmp_path):
    with pytest.raises(EngineError) as refused:
        cleaned(tmp_path, CAST, BACK, {**MASK, "columns": ["x"]})
    assert (refused.value.code, refused.value.value) == ("value_not_fit", "138-1234-9999")


def test_a_row_that_cannot_be_read_is_not_quoted_where_the_plan_masks(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("phone,x\n13812345678,1\n13912345678,2,3\n")
    for step, shown in (({**MASK, "columns": ["phone"]}, "***"), (CAST, "13912345678,2,3")):
        with pytest.raises(EngineError) as refused:
            run(
                CleanSpec.model_validate({"steps": [step]}), inputs={"table": path}, out=tmp_path / "o", report=Silent()
            )
        assert (refused.value.code, refused.value.value) == ("csv_broken_row", shown)


def test_a_masked_column_is_followed_through_its_names():
    swap = [{"column": "a", "name": "t"}, {"column": "b", "name": "a"}, {"column": "t", "name": "b"}]
    steps = steps_of({"kind": "rename", "names": swap}, {**MASK, "columns": ["a"]}, {"kind": "rename", "names": swap})
    assert find_masked_by_step(steps) == [{"b"}, {"a"}, {"a"}, {"b"}]


def test_nor_are_the_bytes_of_a_cell_that_is_not_text(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"name,x\n" + "\u5f20\u4e09".encode("gb18030") + b",1\n")
    spec = {"steps": [{**MASK, "columns": ["name"]}], "csv": {"encoding": "utf-8"}}
    with pytest.raises(EngineError) as refused:
        run(CleanSpec.model_validate(spec), inputs={"table": path}, out=tmp_path / "o", report=Silent())
    assert (refused.value.code, refused.value.value) == ("csv_undecodable", "***")


def test_a_key_that_a_later_step_masks_by_the_name_that_a_join_gave_it():
    join = {"kind": "join", "on": ["number"], "right_on": ["phone"], "take": ["phone", "y"]}
    found = find_masked_by_step(steps_of(join, {**MASK, "columns": ["phone_right"]}))
    assert "phone" in found[0]


def test_without_a_mask_the_note_shows_the_cell(tmp_path):
    summary, *_ = cleaned(tmp_path, {"kind": "drop_missing", "columns": ["phone"]})
    assert "which holds '138-1234-9999'" in summary
