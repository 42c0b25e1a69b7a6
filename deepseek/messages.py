"""Messages for people: an English format string, which is their id, and the values in it.

Whoever raises, notes or reports writes the English. It is carried with its id and values to where a person reads it,
and is translated there by the id, so that no value is ever taken for a word of ours. Nothing here knows a catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_VALUE = 2000
"""Characters of one value that a message keeps."""


def N_(msgid: str) -> str:
    """Mark a text for the catalogue of translations; returns it as it is."""
    return msgid


class Message(str):
    """The English text of `msgid`, with `params` put in; it is a plain text to whoever does not ask for the two.

    A message without params is its id: its braces are only braces. A param may be a message itself.
    """

    msgid: str
    params: dict[str, Any]

    def __new__(cls, msgid: str, /, **params: Any) -> Message:
        if isinstance(msgid, Message) and not params:
            return msgid
        values = {name: _to_json_value(value) for name, value in params.items()}
        message = super().__new__(cls, msgid.format_map(values) if values else msgid)
        message.msgid, message.params = str.__str__(msgid), values
        return message

    def __str__(self) -> str:
        return self  # str() of a text is asked for everywhere, and would lose the rest

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (str.__str__(self), self.msgid, self.params))

    def as_fields(self, name: str = "message") -> dict[str, Any]:
        """What a JSON record keeps of it under `name`: the English, its id and its values."""
        before = "" if name == "message" else f"{name}_"
        params = {key: value.as_fields() if isinstance(value, Message) else value for key, value in self.params.items()}
        return {name: str.__str__(self), f"{before}msgid": self.msgid, f"{before}params": params}


def record_messages(record: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the ids and values of the messages in it beside their English.

    A list of messages gets a list beside it, under its name and `_messages`: an object for each, null for a plain text.
    """
    fields: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Message):
            fields |= value.as_fields(name)
        elif isinstance(value, Mapping):
            fields[name] = record_messages(value)
        elif isinstance(value, list | tuple):
            fields[name] = [record_messages(item) if isinstance(item, Mapping) else item for item in value]
            if any(isinstance(item, Message) for item in value):
                fields[name] = [str.__str__(item) if isinstance(item, Message) else item for item in value]
                fields[f"{name}_messages"] = [item.as_fields() if isinstance(item, Message) else None for item in value]
        else:
            fields[name] = value
    return fields


def restore_message(record: Mapping[str, Any], name: str = "message") -> str:
    """The text that a JSON record keeps under `name`: a message again, with its id and values, where it was one.

    The English is taken as it was recorded: an id may come from a process that nobody trusts, and is not formatted.
    """
    text, before = record.get(name), "" if name == "message" else f"{name}_"
    msgid, params = record.get(f"{before}msgid"), record.get(f"{before}params")
    if isinstance(text, Message):
        return text
    if not isinstance(text, str):
        return str(text or "")
    if not isinstance(msgid, str) or not isinstance(params, Mapping):
        return text
    return _rebuild(text, msgid, {str(key): _restore(value) for key, value in params.items()})


def _restore(value: Any) -> Any:
    return restore_message(value) if isinstance(value, Mapping) else value


def _rebuild(text: str, msgid: str, params: dict[str, Any]) -> Message:
    """A message as it was: an id that came from elsewhere is not formatted."""
    message = str.__new__(Message, text)
    message.msgid, message.params = msgid, params
    return message


def _to_json_value(value: Any) -> Any:
    """A value as JSON can keep it and as a format string can write it; a long text is cut."""
    if value is None or isinstance(value, bool | Message):
        return value
    if isinstance(value, str):
        return str.__str__(value)[:MAX_VALUE]
    if isinstance(value, int) or hasattr(value, "__index__"):
        return int(value)
    if isinstance(value, float) or (hasattr(value, "__float__") and not hasattr(value, "strftime")):
        return float(value)
    if isinstance(value, list | tuple) and all(item is None or isinstance(item, str | int | float) for item in value):
        return [_to_json_value(item) for item in value]
    return str(value)[:MAX_VALUE]
