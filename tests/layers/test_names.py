"""Names that a newcomer cannot search for stay out of the product: docs/glossary.md has the terms of the field."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("apps", "controlplane", "deepseek", "workers")
BANNED = {"asked", "judged", "parted", "said", "shown", "spoken", "told", "worded"}
# Fields that stand in stored documents, in the REST schema or in a table: renaming them would change what others read.
STORED = {
    ("apps/data/datasets/quality/drift.py", "told"),
    ("apps/data/datasets/versions/comparison.py", "told"),
    ("apps/ml/experiments/filters/completion.py", "told"),
    ("apps/ml/experiments/filters/grammar.py", "said"),
    ("apps/platform/approvals/models.py", "shown"),
}


def test_no_banned_name_is_assigned_or_defined() -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for top in PRODUCT
        for path in (ROOT / top).rglob("*.py")
        if "migrations" not in path.parts
        for name in names_in(path)
        if name in BANNED
    }
    assert sorted(found - STORED) == []
    assert sorted(STORED - found) == [], "take these off the list"


def names_in(path: Path) -> set[str]:
    """Names of functions, classes and variables that a module defines; arguments not among them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
