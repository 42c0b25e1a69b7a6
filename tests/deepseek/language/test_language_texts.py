"""Conversations become tokens of which the assistant's are targets; lines that do not fit are named."""

import pytest

from deepseek.job import EngineError
from deepseek.language.spec import LanguageSpec
from deepseek.language.texts import read_texts
from tests.deepseek.language.tiny import TEMPLATE, build_records, build_tokenizer, write_texts

MARKED = TEMPLATE.replace(
    "<bot>{{ m['content'] }}<eos>", "<bot>{% generation %}{{ m['content'] }}<eos>{% endgeneration %}"
)
TWO_TURNS = {
    "messages": [
        {"role": "user", "content": "what colour is the sky ?"},
        {"role": "assistant", "content": "it is blue ."},
        {"role": "user", "content": "what colour is the grass ?"},
        {"role": "assistant", "content": "it is green ."},
    ]
}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture
def read(tmp_path, tokenizer):
    def read(*records, context=64, **fields):
        path = write_texts(tmp_path / "texts.jsonl", list(records))
        return read_texts(path, LanguageSpec(**fields), tokenizer, context)

    return read


@pytest.mark.parametrize("template", ["", MARKED])
def test_the_loss_is_on_every_answer_alone(read, tokenizer, template):
    (text,) = read(TWO_TURNS, chat_template=template).rows
    assert tokenizer.decode(text.tokens[text.targets]) == "it is blue .<eos>it is green .<eos>"
    assert text.prompt == TWO_TURNS["messages"][:3]


def test_a_completion_follows_its_prompt(read, tokenizer):
    (text,) = read({"prompt": "what colour ", "completion": "is it ?"}).rows
    assert tokenizer.decode(text.tokens) == "<bos>what colour is it ?<eos>"
    assert tokenizer.decode(text.tokens[text.targets]) == "is it ?<eos>"


def test_longer_texts_follow_the_rule_and_are_counted(read):
    long, short = TWO_TURNS, build_records(1)[0]
    longest = len(read(short).rows[0].tokens)
    cut = read(long, short, max_length=longest)
    assert (cut.cut, cut.skipped, [len(text.tokens) for text in cut.rows]) == (1, 0, [longest, longest])
    skipped = read(long, short, max_length=longest, too_long="skip")
    assert (skipped.cut, skipped.skipped, len(skipped.rows)) == (0, 1, 1)
    nothing_left = read(long, short, max_length=2)
    assert (nothing_left.cut, nothing_left.skipped) == (0, 2)
    with pytest.raises(EngineError) as failure:
        read(short, long, max_length=longest, too_long="fail")
    assert (failure.value.code, failure.value.message.params["line"]) == ("text_too_long", 2)


def test_each_bad_line_has_its_code_and_number(read, tokenizer):
    def message(role, content="x"):
        return {"role": role, "content": content}

    def refuse(record, **fields):
        with pytest.raises(EngineError) as failure:
            read(build_records(1)[0], record, **fields)
        return failure.value.code, failure.value.message.params["line"]

    silent = "{% for m in messages %}{% if m['role'] == 'assistant' %}<bot>{{ m['content'] }}{% endif %}{% endfor %}"
    once = "<user>{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    answer = {"messages": [message("user", "a"), message("assistant", "b")]}
    found = {
        "a list": refuse([1]),
        "nothing": refuse({"text": "x"}),
        "no answer": refuse({"messages": [message("user")]}),
        "content": refuse({"messages": [message("user", 1), message("assistant")]}),
        "role": refuse({"messages": [message("system"), message("assistant")]}),
    }
    assert found == {
        "a list": ("text_unreadable", 2),
        "nothing": ("text_unreadable", 2),
        "no answer": ("text_unreadable", 2),
        "content": ("text_unreadable", 2),
        "role": ("chat_template_mismatch", 2),
    }
    templates = {
        name: refuse_template(read, answer, template) for name, template in (("silent", silent), ("once", once))
    }
    assert templates == {"silent": "chat_template_mismatch", "once": "chat_template_mismatch"}
    assert refuse_template(read, answer, "{% if %}") == "chat_template_mismatch"


def refuse_template(read, record, template):
    with pytest.raises(EngineError) as failure:
        read(record, chat_template=template)
    return failure.value.code


def test_messages_need_a_template(tmp_path):
    path = write_texts(tmp_path / "texts.jsonl")
    with pytest.raises(EngineError) as failure:
        read_texts(path, LanguageSpec(), build_tokenizer(None), 64)
    assert failure.value.code == "chat_template_missing"
