"""A spec from outside: validated against its kind, every error at once, each with its path as a JSON pointer."""

from __future__ import annotations

import difflib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from apps.core.canonical import encode_canonical_json
from apps.core.errors import Invalid
from apps.platform.jobs.kinds import KINDS, JobKind
from deepseek.messages import N_, Message

M = TypeVar("M", bound=BaseModel)
MAX_ERRORS = 100  # that one refusal names: nobody reads more, and each is translated
LIMITS = ("ge", "gt", "le", "lt", "max_length", "min_length", "multiple_of", "expected", "max_digits")


def get_job_kind(name: str) -> JobKind:
    """The entry of KINDS; Invalid naming the kinds there are."""
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(str(name), KINDS, n=1)
    raise Invalid(
        "There is no job kind {name!r}.",
        name=str(name)[:60],
        code="unknown_kind",
        field="/kind",
        limit=", ".join(KINDS),
        hint=Message("Did you mean {near}?", near=near[0]) if near else Message("Take one of the kinds listed."),
    )


def parse_spec(kind: str, spec: Mapping[str, Any], *, strict: bool = True, prefix: str = "/spec") -> BaseModel:
    """The typed spec, or Invalid with every error. `strict`: no coercion, as the API asks; a form is lax."""
    return parse_model(get_job_kind(kind).spec, spec, strict=strict, prefix=prefix)


def parse_model(model: type[M], values: Mapping[str, Any], *, strict: bool, prefix: str) -> M:
    """What `given` is as a `model`, or Invalid with every error, each pointer behind `prefix`."""
    try:
        return model.model_validate_json(json.dumps(values), strict=strict)
    except ValidationError as failure:
        raise combine_errors(build_spec_errors(failure, values, prefix=prefix)) from None
    except (TypeError, ValueError) as failure:
        raise Invalid(
            "The spec cannot be read: {failure}.", failure=failure, field=prefix, hint=N_("Send a JSON object.")
        ) from None


def combine_errors(errors: Sequence[dict[str, Any]]) -> Invalid:
    """Combine errors into one Invalid; the first is at the top."""
    first = errors[0]
    attributes = {name: first[name] for name in ("code", "field", "limit", "hint")}
    return Invalid(first["message"], **attributes, errors=errors)


def build_spec_errors(failure: ValidationError, values: Any, *, prefix: str) -> list[dict[str, Any]]:
    """pydantic's errors in our shape, the first MAX_ERRORS; a parent's is dropped where a child of it has one."""
    by_pointer: dict[str, dict[str, Any]] = {}
    for error in failure.errors(include_url=False):
        pointer = prefix + "".join(
            f"/{part}" for part in resolve_location(error["loc"], values, absent=error["type"] == "missing")
        )
        context = error.get("ctx") or {}
        limits = {name: to_plain_value(context[name]) for name in LIMITS if name in context}
        by_pointer.setdefault(
            pointer,
            {
                "code": f"spec_{error['type']}",
                "message": add_pointer(pointer, append_input(build_error_message(error), error)),
                "field": pointer,
                "limit": next(iter(limits.values()), None),
                "hint": get_error_hint(error, values),
            },
        )
    pointers = sorted(by_pointer)
    return list(
        islice((error for pointer, error in by_pointer.items() if not has_child(pointer, pointers)), MAX_ERRORS)
    )


def has_child(pointer: str, pointers: Sequence[str]) -> bool:
    """Whether one of the sorted `pointers` lies below this one."""
    place = bisect_left(pointers, pointer + "/")
    return place < len(pointers) and pointers[place].startswith(pointer + "/")


def resolve_location(loc: tuple[int | str, ...], values: Any, *, absent: bool = True) -> list[int | str]:
    """The parts of `loc` that walk the input: pydantic mixes the tags of unions in between, and puts them at the end.

    `absent`: the last part may name a field that is not there.
    """
    parts: list[int | str] = []
    node = values
    for index, part in enumerate(loc):
        if (isinstance(node, Mapping) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]  # type: ignore[index]
        elif index != len(loc) - 1 or not absent:
            continue
        elif not isinstance(node, Mapping):
            continue  # a tag at the end, or a leaf
        parts.append(part)
    return parts


def build_error_message(error: Mapping[str, Any]) -> str:
    """What pydantic or a check of ours (deepseek/spec_errors.py) says of a value: its format string and its values."""
    context = dict(error.get("ctx") or {})
    if "msgid" in context:
        return Message(str(context.pop("msgid")), **context)
    for msgid in load_message_templates().get(error["type"], ()):
        with suppress(KeyError, ValueError, IndexError):
            message = Message(msgid, **{name: value for name, value in context.items() if f"{{{name}}}" in msgid})
            if message == error["msg"]:
                return message
    return str(error["msg"])


@cache
def load_message_templates() -> dict[str, list[str]]:
    """{type of an error: pydantic's format strings for it}, that for JSON first."""
    return {
        error["type"]: [*filter(None, (error.get("message_template_json"), error.get("message_template_python")))]
        for error in list_all_errors()
    }


def append_input(problem: str, error: Mapping[str, Any]) -> str:
    if error["type"] in ("missing", "extra_forbidden"):
        return problem
    value = error.get("input")
    if isinstance(value, Mapping | list | tuple):
        return problem  # Python's notation of a whole group tells nobody anything
    text = repr(value)
    return Message("{problem} (got {text})", problem=problem, text=text if len(text) <= 60 else text[:57] + "...")


def add_pointer(pointer: str, problem: str) -> Message:
    return Message("{pointer}: {problem}", pointer=pointer, problem=problem)


def extract_problem(error: Mapping[str, Any]) -> str:
    """Extract the problem from an error whose message may begin with its pointer."""
    message = error["message"]
    if isinstance(message, Message) and message.msgid == "{pointer}: {problem}":
        problem: str = message.params["problem"]
        return problem
    return str(message).removeprefix(f"{error.get('field')}: ")


def get_error_hint(error: Mapping[str, Any], given: Any) -> str | None:
    if error["type"] == "extra_forbidden":
        return Message("Leave this field out, or look at the kind's schema in /api/v1/kinds.")
    if error["type"] == "missing":
        return Message("Give this field.")
    return None


def to_plain_value(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else str(value)


def serialize_spec(spec: BaseModel) -> str:
    """Canonical text with every default written out: what is stored, digested and handed to the engine."""
    return encode_canonical_json(spec.model_dump(mode="json"))
