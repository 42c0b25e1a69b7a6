"""docs/errors.md lists every code that the source can answer with, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("apps", "controlplane", "workers", "deepseek")
CODE_FIRST = (
    "build_spec_error",
    "AgentError",
    "AgentFailure",
    "TransferError",
    "EngineError",
    "PlaneAway",
    "ReleaseRefused",
    "SigningError",
    "SnapshotError",
    "TransientError",
    "CsvError",
    "FederationError",
    "build_csv_error",
    "build_error",
    "build_job_error",
    "build_text_fault",
)
DOCUMENTED = re.compile(r"^\| `([a-z0-9_]+)` \|", re.MULTILINE)
HAS_CODE = re.compile(rf"\bcode\b|\b(?:{'|'.join(CODE_FIRST)})\(")  # what codes_in looks for


def codes_in(tree: ast.AST) -> Iterator[str]:
    """`code="x"` in calls, `code = "x"` in classes, `{"code": "x"}`, and arguments of a parameter named code."""
    places = {
        node.name: [argument.arg for argument in node.args.args].index("code")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "code" in [argument.arg for argument in node.args.args]
    } | dict.fromkeys(CODE_FIRST, 0)
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
    texts = [path.read_text() for top in SOURCES for path in sorted((ROOT / top).rglob("*.py"))]
    return {code for text in texts if HAS_CODE.search(text) for code in codes_in(ast.parse(text)) if code}


def test_documented_codes_are_those_of_the_source():
    text = (ROOT / "docs/errors.md").read_text()
    source, documented = codes_of_source(), set(DOCUMENTED.findall(text))
    of_ours = set(DOCUMENTED.findall(text.partition("## Codes of the libraries")[0]))
    assert (sorted(source - documented), sorted(of_ours - source)) == ([], [])


def test_no_code_is_documented_twice():
    documented = DOCUMENTED.findall((ROOT / "docs/errors.md").read_text())
    assert len(documented) == len(set(documented))


def test_scan_finds_codes():
    source = """
class A:
    code = "a"
def refused(code, message): ...
raise B("x", code="b")
raise build_spec_error("c", "text")
raise refused("d", "text")
problem = {"code": "e", "message": "text"}
raise EngineError("f", "text")
raise EngineError(code="g", message="text")
"""
    assert set(codes_in(ast.parse(source))) == set("abcdefg")
