"""Requests as data (requests/*.yaml), spoken to one server in order; what they make is named and used further on.

A step is a mapping: `ask` ("POST runs/create", below /api/2.0/mlflow/ unless it begins with a slash), and of `body`
(sent as JSON), `raw` (sent as it stands), `query` (a mapping, lists repeat the name; or a text, sent as it stands) and
`headers` what it needs. `keep: {run: run.info.run_id}` names a value of the answer; `${run}` stands for it later.
`unordered` and `headers_of` are for the comparison: likeness.py.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REQUESTS = Path(__file__).with_name("requests")
BASE = "/api/2.0/mlflow/"
NAMED = re.compile(r"\$\{(\w+)\}")
LONG = re.compile(r"\$\{(\w)\*(\d+)\}")  # ${x*501} is so many x
PATIENCE = 60
NOTHING = "0" * 32  # what a name stands for whose answer did not give it


@dataclass
class Answer:
    """What a server said to one step. `body` is the JSON where it is JSON, otherwise the text."""

    step: dict[str, Any]
    sent: dict[str, Any]
    status: int
    kind: str
    body: Any
    headers: dict[str, str]


def topics() -> list[str]:
    return sorted(path.stem for path in REQUESTS.glob("*.yaml"))


def steps_of(topic: str) -> list[dict[str, Any]]:
    return [written_out(step) for step in yaml.safe_load((REQUESTS / f"{topic}.yaml").read_text())]


def written_out(step: dict[str, Any]) -> dict[str, Any]:
    """`{search: FILTER}` and `{order: [...]}` are short for a search of runs in the experiment ${exp}."""
    for short, field in (("search", "filter"), ("order", "order_by")):
        if short in step:
            return {"ask": "POST runs/search", "body": {"experiment_ids": ["${exp}"], field: step[short]}}
    return step


def filled(value: Any, names: dict[str, str]) -> Any:
    """`value` with every ${name} replaced, at any depth."""
    if isinstance(value, str):
        value = LONG.sub(lambda found: found[1] * int(found[2]), value)
        return NAMED.sub(lambda found: names[found[1]], value)
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, dict):
        return {filled(key, names): filled(item, names) for key, item in value.items()}
    return value


def at(body: Any, path: str) -> str:
    """The value at `path`, as text; empty if the answer has none: that is for the comparison to tell."""
    for part in path.split("."):
        body = body.get(part, "") if isinstance(body, dict) else ""
    return str(body)


class Speaker:
    """One connection to one server; `names` are what its answers made known."""

    def __init__(self, address: str, headers: dict[str, str] | None = None) -> None:
        found = urllib.parse.urlsplit(address)
        self.connection = http.client.HTTPConnection(found.hostname or "", found.port, timeout=PATIENCE)
        self.prefix, self.headers = found.path.rstrip("/"), headers or {}
        self.names: dict[str, str] = {}

    def say(self, step: dict[str, Any]) -> Answer:
        verb, _, path = filled(step["ask"], self.names).partition(" ")
        path = self.prefix + (path if path.startswith("/") else BASE + path)
        query = filled(step.get("query"), self.names)
        if query is not None:
            path += "?" + (query if isinstance(query, str) else urllib.parse.urlencode(query, doseq=True))
        headers = self.headers | filled(step.get("headers", {}), self.names)
        data = None
        if "body" in step:
            data = json.dumps(filled(step["body"], self.names)).encode()
            headers = {"Content-Type": "application/json"} | headers
        elif "raw" in step:
            data = filled(step["raw"], self.names).encode()
        repeats = step.get("repeat")  # {name of a list: how often}: long lists need not be written out
        if repeats:
            data = json.dumps(repeated(filled(step["body"], self.names), repeats)).encode()
        self.connection.request(verb, path, data, {name: text for name, text in headers.items() if text})
        answer = self.connection.getresponse()
        content = answer.read()
        kind = answer.headers.get_content_type() if answer.headers["Content-Type"] else ""
        try:
            body = json.loads(content) if kind == "application/json" else content.decode()
        except UnicodeDecodeError:
            body = content.hex()
        for name, where in step.get("keep", {}).items():
            self.names[name] = found if (found := at(body, where)) else NOTHING
        sent = {"path": path, **({"body": data.decode()[:2000]} if data is not None else {})}
        return Answer(step, sent, answer.status, kind, body, {k.lower(): v for k, v in answer.headers.items()})

    def close(self) -> None:
        self.connection.close()


def repeated(body: Any, repeats: dict[str, int]) -> Any:
    """`body` where the one element of each named list stands so many times, `{n}` in its texts being its number."""
    for name, times in repeats.items():
        (one,) = body[name]
        body[name] = [json.loads(json.dumps(one).replace("{n}", str(number))) for number in range(times)]
    return body


def spoken(address: str, topic: str, headers: dict[str, str] | None = None) -> list[tuple[Answer, dict[str, str]]]:
    """All answers of one server to a topic, each with the names that were given until then."""
    speaker = Speaker(address, headers)
    try:
        return [(speaker.say(step), dict(speaker.names)) for step in steps_of(topic)]
    finally:
        speaker.close()
