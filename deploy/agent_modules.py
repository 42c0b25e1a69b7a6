"""Which modules of the engine a device needs: the agent, the service, and whatever these import when they are loaded.

What a function imports is loaded when it is called, and is left out unless it is named here: the forms of a model that
PyTorch runs, and the commands that a device does not have.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "deepseek"
ROOTS = (
    "deepseek.agent",
    "deepseek.cli",
    "deepseek.device_command",
    "deepseek.images.decoding",
    "deepseek.serve",
    "deepseek.signing",
)
"""Packages, each with all of its modules, and modules."""
LEFT_OUT = ("deepseek.serve.language", "deepseek.signing.pkcs11")
"""Of the packages above: what only models that PyTorch runs need, and the plane's own keys in a token of hardware."""


def list_modules() -> dict[str, Path]:
    """Name of each module that a device has -> its file."""
    found: dict[str, Path] = {}
    waiting = [module for root in ROOTS for module in _expand(root) if module not in LEFT_OUT]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found[module] = _find_file(module)
        waiting += [name for name in list_imports(found[module]) if name.partition(".")[0] == ENGINE]
        if "." in module:
            waiting.append(module.rpartition(".")[0])
    return dict(sorted(found.items()))


def list_imports(path: Path, *, lazy: bool = False) -> list[str]:
    """What the module at `path` imports when it is loaded or, with `lazy`, only when one of its functions runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_load = [node for node in _iterate_statements(tree.body) if isinstance(node, ast.Import | ast.ImportFrom)]
    if not lazy:
        return sorted({name for node in at_load for name in _list_names(node)})
    hidden = {id(child) for node in ast.walk(tree) if _is_for_types(node) for child in ast.walk(node)}
    every = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    later = [node for node in every if node not in at_load and id(node) not in hidden]
    return sorted({name for node in later for name in _list_names(node)})


def _expand(root: str) -> Iterator[str]:
    """The module, or every module of the package."""
    folder = ROOT.joinpath(*root.split("."))
    if not folder.is_dir():
        yield root
        return
    for path in folder.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _find_file(module: str) -> Path:
    folder = ROOT.joinpath(*module.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _iterate_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is loaded."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(node):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _iterate_statements(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from _iterate_statements(handler.body)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _list_names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    yield str(node.module)
    for alias in node.names:  # a name of the package may be a module of it
        inner = f"{node.module}.{alias.name}"
        if inner.partition(".")[0] == ENGINE and _find_file(inner).is_file():
            yield inner
