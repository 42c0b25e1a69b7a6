"""Parse what devices report: feedback on an action, attributes, and what is installed.

Unknown fields are ignored, as in hawkBit. What a device sends is bounded here, before anything is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic_core import from_json

from apps.gateways.hawkbit.responses import DdiError, unreadable_error

MAX_MESSAGES = 50  # of one feedback, as in hawkBit; what is beyond is counted and dropped
MAX_MESSAGE_CHARS = 512
MAX_ATTRIBUTES = 100  # of a device, as in hawkBit
MAX_ATTRIBUTE_CHARS = 128  # of a key, and of a value
MAX_COUNT = 2**53
MODES = ("merge", "replace", "remove")


class Outcome(StrEnum):
    """What feedback says of an action."""

    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    RUNNING = "running"
    WARNING = "warning"
    SUCCEEDED = "succeeded"  # ends the action, as the two below
    FAILED = "failed"
    CANCELLED = "cancelled"
    CANCEL_REJECTED = "cancel_rejected"  # the device goes on: the action runs again


ENDS = frozenset({Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED})
FINISHED = ("success", "failure", "none")

# (execution, finished) -> outcome; None stands for every value of `finished`.
ON_DEPLOYMENT: dict[tuple[str, str | None], Outcome] = {
    ("closed", "failure"): Outcome.FAILED,
    ("closed", "success"): Outcome.SUCCEEDED,
    ("closed", "none"): Outcome.SUCCEEDED,
    ("canceled", None): Outcome.CANCELLED,
    ("rejected", None): Outcome.WARNING,
    ("download", None): Outcome.DOWNLOADING,
    ("downloaded", None): Outcome.DOWNLOADED,
    ("proceeding", None): Outcome.RUNNING,
    ("scheduled", None): Outcome.RUNNING,
    ("resumed", None): Outcome.RUNNING,
}
ON_CANCEL: dict[tuple[str, str | None], Outcome] = {
    ("closed", "success"): Outcome.CANCELLED,
    ("closed", "none"): Outcome.CANCELLED,
    ("closed", "failure"): Outcome.CANCEL_REJECTED,
    ("rejected", None): Outcome.CANCEL_REJECTED,
    ("canceled", None): Outcome.WARNING,
    ("download", None): Outcome.RUNNING,
    ("downloaded", None): Outcome.RUNNING,
    ("proceeding", None): Outcome.RUNNING,
    ("scheduled", None): Outcome.RUNNING,
    ("resumed", None): Outcome.RUNNING,
}


@dataclass(frozen=True, slots=True)
class Feedback:
    """A device's report on an action; `progress` from 0 to 1, None where none was sent."""

    execution: str
    finished: str
    progress: float | None
    code: int | None
    messages: tuple[str, ...]

    @property
    def on_deployment(self) -> Outcome:
        return find_outcome(ON_DEPLOYMENT, self)

    @property
    def on_cancel(self) -> Outcome:
        return find_outcome(ON_CANCEL, self)

    @property
    def text(self) -> str:
        return "\n".join(self.messages)


@dataclass(frozen=True, slots=True)
class ConfigData:
    """Attributes that a device sends of itself."""

    attributes: dict[str, str]
    mode: str

    def apply_to(self, present: dict[str, str]) -> dict[str, str]:
        """The device's attributes afterwards; DdiError where they would be too many."""
        if self.mode == "remove":
            return {key: value for key, value in present.items() if key not in self.attributes}
        result = dict(self.attributes) if self.mode == "replace" else {**present, **self.attributes}
        if len(result) > MAX_ATTRIBUTES:
            raise DdiError(
                403, "quota_exceeded", f"A device has at most {MAX_ATTRIBUTES} attributes; this makes {len(result)}."
            )
        return result


def find_outcome(table: dict[tuple[str, str | None], Outcome], feedback: Feedback) -> Outcome:
    """What a table says of this feedback, whose values were checked when it was parsed."""
    return table.get((feedback.execution, feedback.finished)) or table[feedback.execution, None]


def parse_body(data: bytes) -> dict[str, Any]:
    """The JSON object of a body."""
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError as failure:
        raise unreadable_error(f"The body is not JSON: {str(failure)[:200]}") from None
    if not isinstance(value, dict):
        raise unreadable_error(f"The body must be a JSON object, not {describe_type(value)}.")
    return value


def parse_feedback(body: dict[str, Any]) -> Feedback:
    """The feedback in a body; DdiError 400 for what cannot be understood."""
    status = get_object(body, "status")
    executions = sorted({execution for execution, _ in ON_DEPLOYMENT})
    execution = status.get("execution")
    if execution not in executions:
        raise unreadable_error(f"status.execution must be one of {', '.join(executions)}.")
    result = status.get("result")
    if result is not None and not isinstance(result, dict):
        raise unreadable_error(f"status.result must be an object, not {describe_type(result)}.")
    finished = (result or {}).get("finished", "none")
    if finished not in FINISHED:
        raise unreadable_error(f"status.result.finished must be one of {', '.join(FINISHED)}.")
    code = status.get("code")
    return Feedback(
        execution=execution,
        finished=finished,
        progress=parse_progress((result or {}).get("progress")),
        code=code if type(code) is int and abs(code) < 2**31 else None,
        messages=parse_messages(status.get("details")),
    )


def parse_progress(value: Any) -> float | None:
    """{cnt, of} as a share; None for anything else: progress is for people to look at, and no reason to refuse."""
    if not isinstance(value, dict):
        return None
    count, of = (parse_number(value.get(name)) for name in ("cnt", "of"))
    return None if count is None or not of or of < 0 else min(max(count / of, 0.0), 1.0)


def parse_number(value: Any) -> float | None:
    is_number = type(value) in (int, float) and abs(value) < MAX_COUNT
    return float(value) if is_number else None


def parse_messages(value: Any) -> tuple[str, ...]:
    """`details`: a list of texts, cut to what is kept."""
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    messages = []
    for item in items[:MAX_MESSAGES]:
        if isinstance(item, (dict, list)):
            raise unreadable_error("status.details must be a list of texts.")
        if item is not None:
            messages.append(clean_text(str(item))[:MAX_MESSAGE_CHARS])
    if len(items) > MAX_MESSAGES:
        messages[-1:] = [f"{len(items) - MAX_MESSAGES + 1} more messages were not kept."]
    return tuple(messages)


def parse_config_data(body: dict[str, Any]) -> ConfigData:
    """The attributes in a body, `{data: {name: value}, mode?}`."""
    mode = body.get("mode") or "merge"
    if mode not in MODES:
        raise unreadable_error(f"mode must be one of {', '.join(MODES)}.")
    attributes: dict[str, str] = {}
    for key, value in get_object(body, "data").items():
        if isinstance(value, (dict, list)) or not clean_label(key):
            raise unreadable_error("data must be an object of texts by their names.")
        name, text = clean_label(key), clean_label("" if value is None else str(value))
        if max(len(name), len(text)) > MAX_ATTRIBUTE_CHARS:
            raise unreadable_error(
                f"data[{name[:40]!r}]: a name and a value have at most {MAX_ATTRIBUTE_CHARS} characters."
            )
        attributes[name] = text
    return ConfigData(attributes, mode)


def parse_installed(body: dict[str, Any]) -> tuple[str, str]:
    """(name, version) of what a device says that it has installed."""
    name, version = (body.get(key) for key in ("name", "version"))
    if not isinstance(name, str) or not isinstance(version, str) or not clean_label(name):
        raise unreadable_error("name and version must be texts.")
    name, version = clean_label(name), clean_label(version)
    if max(len(name), len(version)) > MAX_ATTRIBUTE_CHARS:
        raise unreadable_error(f"name and version have at most {MAX_ATTRIBUTE_CHARS} characters.")
    return name, version


def get_object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise unreadable_error(f"{name} must be an object, not {describe_type(value)}.")
    return value


def clean_text(text: str) -> str:
    """Without NUL, which no database keeps."""
    return text.replace("\x00", "")


def clean_label(text: str) -> str:
    """In one line, without control characters: as attributes of devices are kept."""
    return "".join(" " if ord(letter) < 32 or ord(letter) == 127 else letter for letter in text).strip()


def describe_type(value: Any) -> str:
    """The name of a JSON type."""
    names = {dict: "an object", list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
