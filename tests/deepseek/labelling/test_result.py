"""The files of a result, and the tasks of a file."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.texts import read_texts
from deepseek.job import EngineError
from deepseek.labelling.label_studio import parse_config
from deepseek.labelling.result import write_result
from deepseek.labelling.schema import LabellingSchema
from deepseek.labelling.tasks import iterate_tasks
from tests.deepseek.labelling.test_schema import TEMPLATE

SCHEMA = parse_config(TEMPLATE)
SPAN = {"start": 0, "end": 3, "label": "PERSON"}


def build_result(row, text, marks):
    facts = {"state": "agreed", "annotators": ["A1", "A2"], "seconds": 30.0}
    return {"row": row, "data": {"text": text}, "marks": marks, **facts}


def test_texts_can_be_trained_on_and_the_table_names_rows(tmp_path):
    results = [build_result(4, "Ada left.", {"spans": [SPAN]}), build_result(7, "Nobody.", {})]
    facts = write_result(results, SCHEMA, tmp_path)
    assert (facts["rows"], facts["annotators"], facts["minutes"]) == (2, ["A1", "A2"], 1.0)
    texts = read_texts(tmp_path / "texts.jsonl", EntitiesSpec()).texts
    assert [len(text.spans) for text in texts] == [1, 0]
    table = pq.read_table(tmp_path / "annotations.parquet").to_pydict()
    assert table["source_row"] == [4, 7]
    assert json.loads(table["spans"][0]) == [SPAN]


def test_images_get_their_table_of_labels(tmp_path):
    schema = LabellingSchema(data="image", classes=["cat", "dog"])
    result = {**build_result(0, "", {"class": "cat"}), "data": {"image": "a/1.png", "digest": "0"}}
    facts = write_result([result], schema, tmp_path)
    assert (tmp_path / "images.csv").read_text().splitlines() == ["path,label", "a/1.png,cat"]
    assert facts["images"] == ["a/1.png"]
    assert sorted(facts["files"]) == ["annotations.parquet", "images.csv"]


FILES = {
    "a.jsonl": '{"text": "Ada"}\n\n{"text": "Bob"}\n',
    "a.csv": "text,x\nAda,1\nBob,2\n",
    "a.txt": "Ada\n\nBob\n",
}


@pytest.mark.parametrize("name", FILES)
def test_tasks_of_each_format(tmp_path, name):
    path = tmp_path / "source"
    path.write_text(FILES[name])
    assert [task["data"]["text"] for task in iterate_tasks(path, name, SCHEMA)] == ["Ada", "Bob"]


def test_gold_and_first_marks_come_along(tmp_path):
    path = tmp_path / "source"
    lines = [{"text": "Ada", "spans": [SPAN], "gold": True}, {"text": "Bob", "spans": [SPAN]}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = iterate_tasks(path, "a.jsonl", SCHEMA)
    assert (first["gold"], first["prelabel"]) == ({"spans": [SPAN]}, None)
    assert (second["gold"], second["prelabel"]) == (None, {"spans": [SPAN]})


@pytest.mark.parametrize(
    ("line", "code"),
    [("{", "tasks_unreadable"), ('{"x": 1}', "task_unreadable"), ('{"text": "A", "spans": [1]}', "task_unreadable")],
)
def test_what_is_no_task_names_its_row(tmp_path, line, code):
    path = tmp_path / "source"
    path.write_text(line)
    with pytest.raises(EngineError) as fault:
        list(iterate_tasks(path, "a.jsonl", SCHEMA))
    assert fault.value.code == code
