"""What a file of texts may be, and what becomes of what is wrong in it."""

import json

import pytest

from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.texts import read_texts
from deepseek.job import EngineError
from tests.deepseek.entities.making import write_jsonl


def person(start, end, label="PERSON"):
    return {"start": start, "end": end, "label": label}


def read(path, **fields):
    return read_texts(path, EntitiesSpec(**fields))


def spans_of(marked):
    return [[(text.text[s.start : s.end], s.label) for s in text.spans] for text in marked.texts]


def test_three_formats_say_the_same(tmp_path):
    lines = write_jsonl(tmp_path / "a", [{"text": "Ada 李明 left", "spans": [person(4, 6), person(0, 3)]}])
    region = {"type": "labels", "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PERSON"]}}
    other = {"type": "labels", "value": {"start": 4, "end": 6, "labels": ["PERSON"]}}
    cancelled = {"was_cancelled": True, "result": [region]}
    task = {"data": {"text": "Ada 李明 left"}, "annotations": [cancelled, {"result": [region, other]}]}
    studio = tmp_path / "b"
    studio.write_text(json.dumps([task, {"data": {"text": "none"}, "annotations": []}]))
    conll = tmp_path / "c"
    conll.write_text("-DOCSTART- O\n\nAda\tB-PERSON\n李 B-PERSON\n明 x I-PERSON\nleft O\n\n")
    wanted = [[("Ada", "PERSON"), ("李明", "PERSON")]]
    assert {path.name: spans_of(read(path)) for path in (lines, studio, conll)} == dict.fromkeys("abc", wanted)


def test_offsets_of_a_browser_are_converted(tmp_path):
    region = {"type": "labels", "value": {"start": 3, "end": 6, "text": "Ada", "labels": ["PERSON"]}}
    path = tmp_path / "a"
    path.write_text(json.dumps([{"data": {"text": "😀 Ada"}, "annotations": [{"result": [region]}]}]))
    assert spans_of(read(path)) == [[("Ada", "PERSON")]]


FAULTS = {
    "text_unreadable": {"text": 1},
    "span_outside": {"text": "Ada", "spans": [person(0, 4)]},
    "spans_overlap": {"text": "Ada B", "spans": [person(0, 3), person(2, 5)]},
    "label_not_allowed": {"text": "Ada", "spans": [person(0, 3, "LOC")]},
    "span_border": {"text": "Ada", "spans": [person(0, 2)]},
}


def test_each_fault_names_its_line(tmp_path):
    good, codes = {"text": "Ada", "spans": [person(0, 3)]}, {}
    for code, record in FAULTS.items():
        with pytest.raises(EngineError) as error:
            read(write_jsonl(tmp_path / "a", [good, record]), borders="fail")
        codes[code] = (error.value.code, error.value.message.params["line"], error.value.field)
    assert codes == {code: (code, 2, "inputs/texts") for code in FAULTS}


def test_rules_leave_out_and_count(tmp_path):
    path = write_jsonl(tmp_path / "a", [{"text": "Ada", "spans": []}, *FAULTS.values(), {"text": " "}])
    marked = read(path, invalid="skip", other_labels="skip", borders="skip")
    assert [text.text for text in marked.texts] == ["Ada"]
    assert marked.counts.as_dict() == {"invalid": 3, "other_label": 1, "border": 1, "too_long": 0, "empty": 1}


def test_a_border_is_extended_and_an_other_label_ignored(tmp_path):
    path = write_jsonl(tmp_path / "a", [{"text": "Ada B", "spans": [person(1, 2), person(4, 5, "LOC")]}])
    marked = read(path, other_labels="ignore")
    assert spans_of(marked) == [[("Ada", "PERSON")]]
    assert (marked.counts.border, marked.counts.other_label) == (1, 1)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'[{"data": 1}', b'[{"data": '])
def test_a_file_of_no_format(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(EngineError) as error:
        read(path)
    assert error.value.code == "texts_unreadable"


def test_a_line_of_conll_without_a_tag(tmp_path):
    path = tmp_path / "a"
    path.write_text("Ada B-PERSON\nleft\n")
    with pytest.raises(EngineError) as error:
        read(path)
    assert (error.value.code, error.value.message.params["line"]) == ("text_unreadable", 2)
