"""docs/errors.md lists every code that the source can answer with, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("apps", "controlplane", "workers", "deepseek")
DOCUMENTED = re.compile(r"^\| `([a-z0-9_]+)` \|", re.MULTILINE)


def codes_in(tree: ast.AST) -> Iterator[str]:
    """`code="x"` in calls, `code = "x"` in classes, `{"code": "x"}`, and arguments of a parameter named code."""
    places = {
        node.name: [argument.arg for argument in node.args.args].index("code")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "code" in [argument.arg for argument in node.args.args]
    } | {"PydanticCustomError": 0, "reason": 0, "EngineError": 0}  # reason: apps.jobs.reasons
    for node in ast.walk(tree):
        found = list(values_of(node, places))
        yield from (value.value for value in found if isinstance(value, ast.Constant) and isinstance(value.value, str))


def values_of(node: ast.AST, places: dict[str, int]) -> Iterator[ast.AST | None]:
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
        place = places.get(getattr(node.func, "id", ""))
        if place is not None:
            yield from node.args[place : place + 1]
    elif isinstance(node, ast.ClassDef):
        for item in node.body:
            if isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == "code":
                yield item.value
    elif isinstance(node, ast.Dict):
        yield from (
            value for key, value in zip(node.keys, node.values, strict=True) if getattr(key, "value", None) == "code"
        )


def codes_of_source() -> set[str]:
    return {
        code
        for top in SOURCES
        for path in sorted((ROOT / top).rglob("*.py"))
        for code in codes_in(ast.parse(path.read_text()))
        if code
    }


def test_every_code_is_documented():
    documented = set(DOCUMENTED.findall((ROOT / "docs/errors.md").read_text()))
    assert sorted(codes_of_source() - documented) == []


def test_no_code_is_documented_that_nobody_uses():
    text = (ROOT / "docs/errors.md").read_text().partition("## Codes of the libraries")[0]
    assert sorted(set(DOCUMENTED.findall(text)) - codes_of_source()) == []


def test_no_code_stands_twice():
    documented = DOCUMENTED.findall((ROOT / "docs/errors.md").read_text())
    assert len(documented) == len(set(documented))


def test_the_scan_sees_what_it_should():
    source = """
class A:
    code = "a"
def refused(code, message): ...
raise B("x", code="b")
raise PydanticCustomError("c", "text")
raise refused("d", "text")
problem = {"code": "e", "message": "text"}
raise EngineError("f", "text")
raise EngineError(code="g", message="text")
"""
    assert set(codes_in(ast.parse(source))) == set("abcdefg")
