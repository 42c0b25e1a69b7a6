"""docker-compose.yml as Compose reads it: variables put in, merges done, services in the order of their needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<text>[^}]*))?\})")


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """`${NAME}`, `${NAME:-default}`, `${NAME:?reason}` and `$$` in every string of the document."""
    if isinstance(value, dict):
        return {key: interpolate(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    return VARIABLE.sub(lambda found: put_in(found, variables), value) if isinstance(value, str) else value


def put_in(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name = found["name"]
    if name is None:
        return "$"
    if variables.get(name):
        return variables[name]
    if found["how"] == ":?":
        raise KeyError(f"{name} {found['text']}")
    return found["text"] or ""


def services(**variables: str) -> dict[str, dict[str, Any]]:
    return interpolate(yaml.safe_load(FILE.read_text()), variables)["services"]


def in_order(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The services' names, each after those that it depends on."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        for needed in found[name].get("depends_on", {}):
            visit(needed)
        if name not in ordered:
            ordered.append(name)

    for name in found:
        visit(name)
    return ordered


def seconds(text: str) -> float:
    """`15s` or `1m` of the document."""
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def build_steps() -> list[str]:
    """What the Dockerfile runs, each step as one shell line."""
    joined = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.removeprefix("RUN ").strip() for line in joined.splitlines() if line.startswith("RUN ")]
