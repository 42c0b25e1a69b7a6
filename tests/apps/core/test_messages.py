"""Messages in the language of a page: by id and values, as they were raised and as a record keeps them."""

import copy
import json

import pytest
from django.utils.translation import override

from apps.core.errors import Invalid
from apps.core.messages import translate_error, translate_message, translate_messages
from apps.platform.jobs.errors import build_job_error, parent_failed, stalled_for_too_long
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.spec_validation import parse_model
from apps.platform.jobs.specforms.spec_form import SpecForm
from deepseek.messages import Message, record_messages, restore_message

ERROR = Invalid(
    "This project has no dataset {name!r}.", name="mean", field="dataset", hint=Message("Give a {name}.", name="x")
)
CHINESE = "此项目没有数据集 'mean'。"


def test_an_error_is_english_where_nobody_asks_for_more():
    with override("zh-hans"):
        assert (str(ERROR), ERROR.as_dict()["error"]["message"]) == ("This project has no dataset 'mean'.",) * 2


def test_an_error_on_a_page():
    assert translate_message(ERROR) == "This project has no dataset 'mean'."
    with override("zh-hans"):
        assert (
            translate_message(ERROR) == translate_message(ERROR.message) == translate_message(ERROR.first()) == CHINESE
        )
        assert translate_error(ERROR) == f"{CHINESE} 请填写 x。"


def test_a_record_on_a_page():
    record = json.loads(json.dumps(record_messages(ERROR.first())))
    assert record["message"] == "This project has no dataset 'mean'."
    assert (record["msgid"], record["params"]) == ("This project has no dataset {name!r}.", {"name": "mean"})
    with override("zh-hans"):
        assert (translate_message(record), translate_message(record, "hint")) == (CHINESE, "请填写 x。")


def test_a_list_of_messages():
    record = record_messages({"notes": [Message("1 cell"), "typed"]})
    with override("zh-hans"):
        assert translate_messages(record, "notes") == ["1 个单元格", "typed"]
        assert translate_messages({"notes": ["1 cell"]}, "notes") == ["1 cell"]
        assert translate_messages({}, "notes") == []


@pytest.mark.parametrize("old", ["Choose another.", "Field required", ""])
def test_a_text_without_an_id_is_shown_as_it_is(old):
    with override("zh-hans"):
        assert translate_message(old) == translate_message({"message": old}) == old


def test_a_value_that_reads_like_a_message_is_not_translated():
    with override("zh-hans"):
        assert "Field required" in translate_message(Message("Give a {name}.", name="Field required"))


def test_a_message_in_a_message():
    with override("zh-hans"):
        record = json.loads(json.dumps(stalled_for_too_long(parent_failed(), 2)))
        assert record["message"] == "A job whose output it needs has failed. It was so for 2 h."
        assert translate_message(record) == "它所需的输出来自一个已失败的作业。此状态已持续 2 小时。"


@pytest.mark.parametrize(
    "record",
    [
        {"message": "English.", "msgid": "{name.__class__} of nobody", "params": {"name": "x"}},
        {"message": "English.", "msgid": "Give a {name}.", "params": {}},
        {"message": "English.", "msgid": "Give a {name}.", "params": {"other": 1}},
        {"message": "English.", "msgid": ["Give a {name}."], "params": {"name": "x"}},
        {"message": "English.", "msgid": "as in row {row:,}", "params": {"row": "three"}},
        {"message": "English.", "msgid": "", "params": None},
        {
            "message": "English.",
            "msgid": "{what} It was so for {hours:g} h.",
            "params": {"what": "a", "hours": 10**400},
        },
    ],
)
def test_a_record_of_nonsense_is_shown_in_english(record):
    with override("zh-hans"):
        assert translate_message(record) in ("English.", "请填写 {name}。")


def test_reasons_of_a_job_keep_their_ids():
    found = build_job_error(
        "x", "No parent made an output for {slots}.", slots="table", hint="Look at the outputs of its parents."
    )
    assert found["msgid"] == "No parent made an output for {slots}."
    assert found["hint_msgid"] == "Look at the outputs of its parents."


def test_the_form_of_a_spec_in_chinese():
    form = SpecForm(KINDS["train"].spec).bind({"/epochs": "many"})
    with override("zh-hans"):
        assert not form.is_valid()
        texts = [str(translate_message(text)) for text in form.errors.values()]
    assert texts
    assert not [text for text in texts if "should" in text or "required" in text]


def test_errors_of_a_spec_over_rest_are_english():
    with override("zh-hans"), pytest.raises(Invalid) as caught:
        parse_model(KINDS["train"].spec, {"epochs": "many"}, strict=True, prefix="/spec")
    assert "Input should be a valid integer (got 'many')" in json.dumps(caught.value.errors)


def test_a_copy_of_a_message_formats_nothing():
    told = restore_message({"message": "As it was.", "msgid": "{a.__class__} {b}", "params": {"a": "s"}})
    twin = copy.deepcopy(told)
    assert (str(twin), twin.msgid, twin.params) == ("As it was.", told.msgid, told.params)
