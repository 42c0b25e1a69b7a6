"""The job of one trial: the sweep's own, with the trial's values in its spec."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps.ml.sweeps.schemas import SweepRequest
from apps.platform.jobs.submission import Submission
from deepseek.sweep.spec import Parameter, Scalar

COMMAND = "command"  # of a script's spec: its words are replaced


class MissingPlace(LookupError):
    """A spec has no place of this name."""


def build_trial_submission(request: SweepRequest, number: int, values: Sequence[Scalar]) -> Submission:
    """The job of the trial `number`. Raises MissingPlace."""
    spec = apply_values(request.job.spec, request.settings.space, values)
    return replace(request.job, spec=spec, name=f"{request.job.name} #{number}")


def apply_values(spec: Mapping[str, Any], space: Sequence[Parameter], values: Sequence[Scalar]) -> dict[str, Any]:
    """The spec with the values of the parameters in it. Raises MissingPlace."""
    changed = copy.deepcopy(dict(spec))
    for parameter, value in zip(space, values, strict=True):
        if parameter.name.startswith("/"):
            set_field(changed, parameter.name, value)
        else:
            replace_word(changed, parameter.name, value)
    return changed


def set_field(spec: dict[str, Any], pointer: str, value: Scalar) -> None:
    """Set the field at a JSON pointer; groups that are left out are made, entries of lists are not."""
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    node: Any = spec
    for part in path:
        if isinstance(node, dict):
            node[part] = {} if node.get(part) is None else node[part]
            node = node[part]
        else:
            node = node[parse_index(node, part, pointer)]
    if isinstance(node, dict):
        node[last] = value
    else:
        node[parse_index(node, last, pointer)] = value


def parse_index(node: Any, part: str, pointer: str) -> int:
    if not isinstance(node, list) or not part.isascii() or not part.isdigit() or int(part) >= len(node):
        raise MissingPlace(pointer)
    return int(part)


def replace_word(spec: dict[str, Any], word: str, value: Scalar) -> None:
    """Replace `{word}` in the arguments of the spec's command."""
    arguments = spec.get(COMMAND)
    mark = f"{{{word}}}"
    if not isinstance(arguments, list | tuple) or not any(mark in str(argument) for argument in arguments):
        raise MissingPlace(word)
    spec[COMMAND] = [str(argument).replace(mark, format_argument(value)) for argument in arguments]


def format_argument(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
