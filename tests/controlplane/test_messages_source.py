"""Every message of the source is a format string whose values are given, so that the catalogue can hold it."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

from controlplane.management.commands.makemessages import UNREAD, list_keywords

ROOT = Path(__file__).resolve().parents[2]
PLACES = {name: int(place or 1) - 1 for name, _, place in (keyword.partition(":") for keyword in list_keywords())}
OF_ERRORS = {"code", "field", "limit", "hint", "errors", "value", "status"}
OF_ERRORS |= {"action", "project_id", "object_type", "object_id"}  # Refused


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call, ast.expr]]:
    """(function, call, message) of every call that takes a message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = str(getattr(node.func, "id", getattr(node.func, "attr", "")))
            if name in PLACES and len(node.args) > PLACES[name]:
                yield name, node, node.args[PLACES[name]]


def faults_in(tree: ast.AST) -> Iterator[str]:
    for name, node, text in calls(tree):
        if isinstance(text, ast.JoinedStr):
            yield f"{name} at line {node.lineno}: give the values of the f-string by name"
        if any(isinstance(part, ast.Constant) and str(part.value).startswith("\x00") for part in ast.walk(text)):
            yield f"{name} at line {node.lineno}: xgettext ends a text at a NUL, and takes the empty one"
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)) or name == "N_":
            continue
        given = {keyword.arg for keyword in node.keywords if keyword.arg} - (
            OF_ERRORS if name not in ("Message", "spec_error") else set()
        )
        wanted = {field for _, field, _, _ in string.Formatter().parse(text.value) if field} if given else set()
        if given != wanted:
            yield f"{name} at line {node.lineno}: {sorted(given ^ wanted)}"


def test_every_message_is_a_format_string_with_its_values() -> None:
    found = []
    for folder in ("apps", "controlplane", "workers", "deepseek"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            where = path.relative_to(ROOT).as_posix()
            if not where.startswith(UNREAD):
                found += [f"{where}: {fault}" for fault in faults_in(ast.parse(path.read_text("utf-8")))]
    assert found == []


def test_faults_are_found() -> None:
    source = """
raise Invalid(f"There is no {name}.")
raise Invalid("There is no {name}.", nam=name, field="x")
raise Invalid("There is no {name!r} {n:,}.", name=name, n=1, field="x")
raise Invalid("{braces} alone", field="x")
Message("a {value}", value=1)
Invalid(Message("No NUL.") if "\\x00" in text else "Empty.")
"""
    faults = [fault.split(":")[0] for fault in faults_in(ast.parse(source))]
    assert faults == ["Invalid at line 2", "Invalid at line 3", "Invalid at line 7"]
