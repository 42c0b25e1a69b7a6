"""Messages in the language of a page: by their id, with their values put in again (docs/adr/0026).

A message comes as it was raised, or as a JSON record keeps it: the English, the format string that is its id, and the
values. What has no id is shown as it is: a text that somebody typed, a value of a table, a record of an older release.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from django.utils.translation import get_language, gettext

from deepseek.messages import N_, Message

MAX_DEPTH = 10  # a message that is a value of a message
PYDANTIC = (  # what pydantic says of a value, by its own format strings
    N_("Extra inputs are not permitted"),
    N_("Field required"),
    N_("Input should be a finite number"),
    N_("Input should be a valid array"),
    N_("Input should be a valid boolean"),
    N_("Input should be a valid boolean, unable to interpret input"),
    N_("Input should be a valid integer"),
    N_("Input should be a valid integer, got a number with a fractional part"),
    N_("Input should be a valid integer, unable to parse string as an integer"),
    N_("Input should be a valid list"),
    N_("Input should be a valid number"),
    N_("Input should be a valid number, unable to parse string as a number"),
    N_("Input should be a valid string"),
    N_("Input should be an object"),
    N_("Input should be greater than {gt}"),
    N_("Input should be greater than or equal to {ge}"),
    N_("Input should be less than {lt}"),
    N_("Input should be less than or equal to {le}"),
    N_("Input should be {expected}"),
    # xgettext:no-python-brace-format
    N_("{field_type} should have at least {min_length} item{expected_plural} after validation, not {actual_length}"),
    # xgettext:no-python-brace-format
    N_("{field_type} should have at most {max_length} item{expected_plural} after validation, not {actual_length}"),
    # xgettext:no-python-brace-format
    N_("String should have at least {min_length} character{expected_plural}"),
    # xgettext:no-python-brace-format
    N_("String should have at most {max_length} character{expected_plural}"),
    N_("Unable to parse input string as an integer, exceeded maximum size"),
)


def translate_message(value: object, name: str = "message") -> str:
    """A message in the language of now; as it is if it has no id or nobody has translated it.

    `value`: the message, an error, or a JSON record that keeps the message under `name`.
    """
    if isinstance(value, Message):
        return translate(value.msgid, value.params, value)
    if isinstance(value, Mapping):
        before = "" if name == "message" else f"{name}_"
        text, params = value.get(name), value.get(f"{before}params")
        if isinstance(text, Message):
            return translate(text.msgid, text.params, text)
        return translate(value.get(f"{before}msgid"), params if isinstance(params, Mapping) else {}, text or "")
    if isinstance(value, Exception) and hasattr(value, name):
        return translate_message(getattr(value, name) or "")
    return "" if value is None else str(value)


def translate_messages(record: Mapping[str, Any], name: str) -> list[str]:
    """The list of messages that a JSON record keeps under `name`, in the language of now."""
    texts, records = record.get(name) or [], record.get(f"{name}_messages") or []
    return [
        translate_message({**record_item, "message": text})
        if isinstance(record_item, Mapping)
        else translate_message(text)
        for text, record_item in zip(texts, [*records, *[None] * (len(texts) - len(records))], strict=False)
    ]


def translate_error(error: Any) -> str:
    """What is wrong and what to do about it, of an error or of a JSON record of one."""
    return " ".join(filter(None, (translate_message(error), translate_message(error, "hint"))))


def translate(msgid: object, params: Mapping[str, Any], text: object, depth: int = 0) -> str:
    """The translation of `msgid` with `params` in it; `text` if there is none.

    Only a string of the catalogue is formatted: an id may come from a process that nobody trusts.
    """
    english = str.__str__(text) if isinstance(text, str) else str(text)
    if not isinstance(msgid, str) or not msgid or (get_language() or "en").startswith("en"):
        return english
    words = gettext(msgid)
    if words == msgid or depth > MAX_DEPTH:
        return english
    if not params:
        return words
    values = {name: translate_value(value, depth) for name, value in params.items()}
    try:
        return FORMATTER.vformat(words, (), values)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, ArithmeticError):
        return english  # a value of another type than the words need


def translate_value(value: Any, depth: int) -> Any:
    """A value of a message, which may be a message itself."""
    if isinstance(value, Message):
        return translate(value.msgid, value.params, value, depth + 1)
    if isinstance(value, Mapping):
        params = value.get("params")
        return translate(
            value.get("msgid"), params if isinstance(params, Mapping) else {}, value.get("message", ""), depth + 1
        )
    return value


class Formatter(string.Formatter):
    """Names only: no attributes and no items of values."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return kwargs[field_name], field_name


FORMATTER = Formatter()
