"""How two servers' answers to one step differ, once ids, moments and invented names are taken for what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.mlflow.conversation import Answer

DIFFERENCES = Path(__file__).with_name("differences.yaml")
UNREAD = {"sqlstate", "error_class"}  # of an error: the client reads neither, so that they are there is enough
UNORDERED = {"tags", "params", "aliases", "dataset_inputs", "model_inputs", "model_outputs", "latest_versions", "files"}
INVENTED = re.compile(r"[a-z]+-[a-z]+-\d+")  # of a run or a logged model that was given no name
MOMENT = 10**12  # ms; the requests give none so late
# What clients look for in a message. The rest of the wording is each server's own.
TEXTS = [
    re.compile(pattern)
    for pattern in (
        r"Missing value for required parameter '[^']*'",
        r"Invalid value .* for parameter '[^']*' supplied",
        r"Changing param values is not allowed",
        r"must be in the 'active' state",
        r"Registered model alias \S+ not found",
        r"No tag with name",
        r"Invalid clause\(s\) in filter string",
        r"[Ii]nvalid path",
    )
]


def normal(answer: Answer, names: dict[str, str]) -> dict[str, Any]:
    """What is compared of an answer; `names` are those that its server gave."""
    found = {"status": answer.status, "type": answer.kind, "body": of_value(answer.body, Names(names), "", depth=0)}
    if name := answer.step.get("unordered"):  # a list in the order of ids, which are drawn
        found["body"][name].sort(key=lambda item: json.dumps(item, sort_keys=True))
    for name in answer.step.get("headers_of", ()):
        found[name] = answer.headers.get(name)
    return found


class Names:
    """Replaces what only this server would say by the name under which the steps know it."""

    def __init__(self, names: dict[str, str]) -> None:
        self.ids = {value: f"${{{name}}}" for name, value in names.items() if re.fullmatch(r"(m-)?[0-9a-f]{32}", value)}
        self.experiments = {value: f"${{{name}}}" for name, value in names.items() if value.isdigit()} | {"0": "0"}

    def text(self, value: str) -> str:
        for known, name in self.ids.items():
            value = value.replace(known, name)
        value = re.sub(r"(mlflow-artifacts:/|\.\./)(\d+)(?=/|$)", lambda m: m[1] + self.experiment(m[2]), value)
        return re.sub(r"(?<![0-9a-f])(?!0{32})[0-9a-f]{32}(?![0-9a-f])", "<id>", value)

    def experiment(self, value: str) -> str:
        return self.experiments.get(value, "<experiment>")


def of_value(value: Any, names: Names, key: str, *, depth: int) -> Any:
    if isinstance(value, dict):
        return {name: of_value(item, names, name, depth=depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        items = [of_value(item, names, "", depth=depth + 1) for item in value]
        history = key == "metrics" and depth == 1  # the only list of metrics that has an order
        if key in UNORDERED or (key == "metrics" and not history):
            items.sort(key=lambda item: json.dumps(item, sort_keys=True))
        return items
    if isinstance(value, str):
        return of_text(value, names, key)
    if isinstance(value, int) and not isinstance(value, bool) and value > MOMENT:
        return "<moment>"
    return value


def of_text(value: str, names: Names, key: str) -> str:
    if key == "experiment_id":
        return names.experiment(value)
    if key == "next_page_token":
        return "<token>"
    if key in ("run_name", "name", "value") and INVENTED.fullmatch(value):
        return "<invented>"
    if key in UNREAD:
        return f"<{key}>"
    if key == "message":
        return " ".join(found[0] for text in TEXTS if (found := text.search(value)))
    return names.text(value)


def lines(reference: Any, plane: Any, where: str = "") -> Iterator[str]:
    """One line for each difference: `status: 500 != 400`, `body.run.info.x: only the reference has it`."""
    if isinstance(reference, dict) and isinstance(plane, dict):
        for name in [*reference, *(name for name in plane if name not in reference)]:
            path = f"{where}.{name}" if where else name
            if name not in plane:
                yield f"{path}: only the reference has it"
            elif name not in reference:
                yield f"{path}: only the plane has it"
            else:
                yield from lines(reference[name], plane[name], path)
    elif isinstance(reference, list) and isinstance(plane, list) and len(reference) == len(plane):
        for number, (one, other) in enumerate(zip(reference, plane, strict=True)):
            yield from lines(one, other, f"{where}.{number}")
    elif isinstance(reference, list) and isinstance(plane, list):
        yield f"{where}: {len(reference)} != {len(plane)} of them: {json.dumps(reference)} != {json.dumps(plane)}"
    elif reference != plane:
        yield f"{where}: {json.dumps(reference)} != {json.dumps(plane)}"


@dataclass
class Known:
    """A difference that is meant. `step` and `differ` are patterns: of a step as text, and of a whole line."""

    why: str
    topic: str
    step: str
    differ: list[str]
    met: set[str] = field(default_factory=set)

    def explains(self, step: str, line: str) -> bool:
        if not re.search(self.step, step):
            return False
        for pattern in self.differ:
            if re.fullmatch(pattern, line, re.DOTALL):
                self.met.add(pattern)
                return True
        return False


def known(topic: str) -> list[Known]:
    return [Known(**entry) for entry in yaml.safe_load(DIFFERENCES.read_text()) if entry["topic"] == topic]


def differences(first: Answer, names: dict, second: Answer, others: dict) -> Iterator[str]:
    """Of an answer of the reference and one of the plane. Where the reference's is an error page of its web server,
    which is nothing of MLflow's, only the status counts."""
    if isinstance(first.body, str) and first.status >= 400:
        return lines({"status": first.status}, {"status": second.status})
    return lines(normal(first, names), normal(second, others))


def meant(table: list[Known], step: str, line: str) -> bool:
    """Whether any entry explains it; every one that does has occurred."""
    explaining = [entry for entry in table if entry.explains(step, line)]
    return bool(explaining)


def as_text(answer: Answer) -> str:
    """A step as its file has it, on one line."""
    rest = {name: value for name, value in answer.step.items() if name not in ("ask", "keep")}
    return f"{answer.step['ask']} {json.dumps(rest, ensure_ascii=False)}"


def compared(topic: str, reference: list[tuple[Answer, dict]], plane: list[tuple[Answer, dict]]) -> list[str]:
    """What nobody meant, as text: differences that the table lacks, and entries of it that did not occur."""
    table, unmeant = known(topic), []
    for number, ((first, names), (second, others)) in enumerate(zip(reference, plane, strict=True)):
        step = as_text(first)
        found = [line for line in differences(first, names, second, others) if not meant(table, step, line)]
        if found:
            unmeant.append("\n    ".join([f"{topic} {number}: {step}", *found, f"the plane: {second.body}"[:400]]))
    for entry in table:
        unmeant += [
            f"{topic}: no longer so: {entry.why} ({pattern})" for pattern in entry.differ if pattern not in entry.met
        ]
    return unmeant
