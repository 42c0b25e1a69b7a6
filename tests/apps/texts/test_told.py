"""Messages of services, of the engine and of pydantic, said in the language of the page."""

import re

import pytest
from django.utils.translation import override
from pydantic import BaseModel

from apps.errors import Invalid
from apps.jobs.forms import SpecForm
from apps.jobs.kinds import KINDS
from apps.jobs.specs import parse_model
from apps.texts import patterns, told

ENGLISH_WORDS = re.compile(r"\b(should|must|valid|input|is|are|has|the)\b", re.IGNORECASE)


@pytest.mark.parametrize("text", ["This project has no dataset 'wti'.", "Nobody wrote this.", ""])
def test_english_is_left_alone(text: str) -> None:
    assert told(text) == text


CHINESE = [
    ("This project has no dataset 'wti'.", "此项目没有数据集 'wti'。"),
    ("The table has no column 'x'. Did you mean 'y'?", "表中没有列 'x'。您是否要用 'y'？"),
    ("A vote stands. Somebody else must give the next one.", "表决不可更改。须由其他人继续表决。"),
    (
        "Job 7 is succeeded; only a failed or cancelled job is retried.",
        "作业 7 的状态为“成功”；只有失败或已取消的作业可以重试。",
    ),
    ("Field required", "必填字段"),
    ("above 16.73 to 18.72", "大于 16.73 至 18.72"),
    (
        "The plane failed on this request; the operator's log holds the reason.",
        "平台处理此请求时出错；原因见运维人员的日志。",
    ),
    ("Give the operator this request id: 0f3a.", "请将此请求编号告知运维人员：0f3a。"),
    (
        "rmse against 'last value' on the same rows: -0.1, 95 % interval -0.3 to +0.1; that may be chance.",
        "在相同的行上 rmse 对 'last value'：-0.1，95 % 区间 -0.3 至 +0.1；可能出于偶然。",
    ),
    (
        "At batch 1 it is 2.5 times as fast as fp32 eager (15.2 against 38.3 microseconds, 1 thread).",
        "批大小 1 时，速度为 fp32 eager 的 2.5 倍（15.2 对 38.3 微秒，1 个线程）。",
    ),
    (
        "The expectation 1 (close: >= 0) does not hold: 2 of 5 rows break it. The first: row 2: -1.5; row 40: -3.",
        "期望 1（close: >= 0）不成立：5 行中有 2 行违反。 最先的行：第 2 行：-1.5；第 40 行：-3。",
    ),
    ("row 3: missing; row 9: as in row 4", "第 3 行：缺失；第 9 行：与第 4 行相同"),
    ("missing", "缺失"),
    ("Nobody wrote this.", "Nobody wrote this."),
    ("wti has no more {braces}", "wti has no more {braces}"),
]


def test_chinese() -> None:
    with override("zh-hans"):
        found = {text: told(text) for text, _ in CHINESE}
    assert found == dict(CHINESE)


def test_a_value_is_never_read_as_a_format() -> None:
    with override("zh-hans"):
        assert "{0} %(x)s" in told("This project has no dataset '{0} %(x)s'.")


def test_what_is_said_more_fully_goes_first() -> None:
    lengths = [len(re.sub(r"\{\d+\}", "", template)) for _pattern, template in patterns()]
    assert lengths == sorted(lengths, reverse=True)


def test_a_long_text_is_not_searched() -> None:
    with override("zh-hans"):
        assert told("Field required. " * 1000) == "Field required. " * 1000


def bad_values(model: type[BaseModel]) -> list[dict]:
    """For each field of a spec: texts, numbers out of every range, lists and nothing."""
    tried = ("x", "", -(10**9), 10**9, 0.5, [], ["x"] * 20_000, {}, None, "x" * 2000)
    return [{name: value} for name in model.model_fields for value in tried]


@pytest.mark.parametrize("kind", KINDS)
def test_every_refusal_of_a_spec_speaks_chinese(kind: str) -> None:
    model = KINDS[kind].spec
    messages = set()
    for values in bad_values(model):
        try:
            parse_model(model, values, strict=False, prefix="")
        except Invalid as refused:
            messages |= {str(error["message"]).partition(": ")[2] for error in refused.errors}
    with override("zh-hans"):
        left = [text for text in messages if ENGLISH_WORDS.search(told(text).partition("（收到")[0])]
    assert messages
    assert not left


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_spec_speaks_chinese(kind: str) -> None:
    with override("zh-hans"):
        items = SpecForm(kind).items
    told_in = [(item.label, item.doc) for item in items]
    assert not [(label, doc) for label, doc in told_in if doc and not re.search("[一-鿿]", doc)]


@pytest.mark.timeout(10, func_only=True)
def test_a_text_of_many_sentences_is_read_at_once() -> None:
    """Thirty sentences took a billion steps, a text of two thousand letters the fourth power of its length."""
    with override("zh-hans"):
        for text in ("Field required. " * 100, "Field required. " * 7, "is of at " * 200, " (got x" * 250 + ")"):
            assert told(text.strip())
