"""Command-line flags out of a spec: one flag per leaf field, with the field's own title, unit, limits and default.

argparse only collects strings; pydantic judges them, so that all faults come at once and each names its field.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from deepseek.job import EngineError

Pointer = tuple[str, ...]
M = TypeVar("M", bound=BaseModel)


def add_flags(
    parser: argparse.ArgumentParser, model: type[BaseModel], names: Mapping[str, str], left_out: Sequence[str] = ()
) -> None:
    """Add a flag per leaf of `model`, and ``--spec``. `names`: flag by dotted field, where it is not the field's.

    `left_out`: dotted fields that get no flag.
    """
    group = parser.add_argument_group("spec", "Fields of the job; a flag goes before the same field of --spec.")
    group.add_argument("--spec", metavar="FILE", type=Path, help="JSON file with the spec")
    for pointer, info in iterate_fields(model):
        if ".".join(pointer) in left_out:
            continue
        flag = names.get(".".join(pointer)) or "-".join(pointer).replace("_", "-")
        group.add_argument(
            f"--{flag}", dest=_build_dest(pointer), metavar=_format_metavar(info), help=_format_help(info)
        )


def read_spec(model: type[M], arguments: argparse.Namespace) -> M:
    """The spec: flags over the file of ``--spec``. Raises EngineError for the file, ValidationError for fields."""
    document = _read_file(arguments.spec) if arguments.spec else {}
    for pointer, info in iterate_fields(model):
        text = getattr(arguments, _build_dest(pointer), None)
        if text is None:
            continue
        target = document
        for part in pointer[:-1]:
            nested = target.setdefault(part, {})
            target = nested if isinstance(nested, dict) else {}
        target[pointer[-1]] = _parse_flag(text, info, pointer[-1])
    return model.model_validate(document)


def iterate_fields(model: type[BaseModel], above: Pointer = ()) -> Iterator[tuple[Pointer, FieldInfo]]:
    """Every field that is not itself a spec, with its path."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from iterate_fields(info.annotation, (*above, name))
        else:
            yield (*above, name), info


def convert_errors(error: ValidationError) -> list[EngineError]:
    """One EngineError per fault that pydantic found, all of them, each with a JSON pointer as field."""
    errors = [_convert_error(dict(fault)) for fault in error.errors(include_url=False)]
    once: dict[str | None, EngineError] = {}
    for spec_error in errors:
        once.setdefault(spec_error.field, spec_error)
    return list(once.values())


_LIMITS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}", "expected": "{}"}
_LENGTHS = {"min_length": "at least {} long", "max_length": "at most {} long"}
_HINTS = {"extra_forbidden": "Remove it, or correct its name.", "missing": "Give it a value."}


def _convert_error(fault: Mapping[str, Any]) -> EngineError:
    words = _LIMITS | _LENGTHS
    limits = [words[key].format(value) for key, value in fault.get("ctx", {}).items() if key in words]
    return EngineError(
        f"spec_{fault['type']}",
        str(fault["msg"]),
        field="/" + "/".join(str(part) for part in _strip_tags(fault["loc"])),
        value=repr(fault.get("input"))[:200],
        limit=", ".join(limits) or None,
        hint=_HINTS.get(str(fault["type"])),
    )


def _strip_tags(loc: Sequence[str | int]) -> list[str | int]:
    """The place without the kinds of steps: pydantic names the kind behind the number of an entry of several kinds."""
    return [part for part, before in zip(loc, [None, *loc], strict=False) if not _is_tag(part, before, loc)]


def _is_tag(part: str | int, before: str | int | None, loc: Sequence[str | int]) -> bool:
    return isinstance(before, int) and isinstance(part, str) and loc[0] == "steps" and loc.index(part) == 2


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EngineError(
            "spec_unreadable",
            f"Cannot read the spec {path}: {reason}.",
            field="--spec",
            value=str(path),
            limit="a JSON file",
        ) from error


def _read_file(path: Path) -> dict[str, Any]:
    document = _read_json(path)
    if not isinstance(document, dict):
        raise EngineError(
            "spec_unreadable",
            f"The spec {path} is not a JSON object.",
            field="--spec",
            value=str(path),
            limit="an object",
        )
    return document


def _build_dest(pointer: Pointer) -> str:
    return "spec:" + ".".join(pointer)


def _split_words(text: str) -> list[str]:
    """The parts between commas; an empty text is an empty list."""
    return text.split(",") if text else []


def _parse_flag(text: str, info: FieldInfo, name: str) -> Any:
    """What a flag's text gives pydantic to judge; a list of objects is written as JSON, here or in a file.

    In a file it may stand in an object, under the name of its field: a whole spec is such a file.
    """
    if not _has_objects(info.annotation):
        return _split_words(text) if _is_list(info.annotation) else text
    if not text.lstrip().startswith("["):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise _build_list_error(text, getattr(error, "strerror", None) or str(error)) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _build_list_error(text, str(error)) from error
    return document.get(name) if isinstance(document, dict) else document


def _build_list_error(text: str, reason: str) -> EngineError:
    return EngineError(
        "spec_unreadable",
        f"Cannot read a list of objects: {reason}.",
        value=text[:200],
        limit="a JSON list, or a file with one",
    )


def _has_objects(annotation: Any) -> bool:
    """Whether the field is a list of specs."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_has_objects(part) for part in get_args(annotation))


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))


def _list_choices(info: FieldInfo) -> list[str]:
    return [str(part) for part in get_args(info.annotation) if isinstance(part, str)]


def _format_metavar(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    if _list_choices(info):
        return "|".join(choice or "''" for choice in _list_choices(info))
    if isinstance(extra, dict) and "unit" in extra:
        return str(extra["unit"]).upper()
    if _has_objects(info.annotation):
        return "JSON|FILE"
    if _is_list(info.annotation):
        return "A,B"
    return "NUMBER" if {int, float} & {info.annotation, *get_args(info.annotation)} else "TEXT"


def _format_help(info: FieldInfo) -> str:
    default = info.get_default()
    default_text = ",".join(str(part) for part in default) if isinstance(default, list) else default
    tail = [] if default in (None, "", []) else [f"default: {default_text}"]
    if info.is_required():
        tail = ["required"]
    details = [", ".join(_list_bounds(info)), *tail]
    words = "; ".join(part for part in details if part)
    return f"{info.description}{f' ({words})' if words else ''}".replace("%", "%%")


def _list_bounds(info: FieldInfo) -> Iterator[str]:
    """The limits of a number, in the words of an error about them."""
    for rule in info.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if hasattr(rule, name):
                yield _LIMITS[name].format(getattr(rule, name))
