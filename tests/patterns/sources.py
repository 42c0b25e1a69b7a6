"""Every regular expression of a tree, found in its source: where it stands, what it says, and how it is used.

Texts are put together as far as constants of the tree go: names, f-strings, sums, "|".join of constants, `.pattern`,
the text of a RegexValidator. A compiled pattern is looked up by its name in every module that imports it; one that is
handed on as a value is taken for used in every way.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.patterns.ambiguity import Method

FUNCTIONS = {"match": 2, "fullmatch": 2, "search": 2, "findall": 2, "finditer": 2, "split": 3, "sub": 4, "subn": 4}
"""Functions of `re` and the place of their flags."""
BOTH = frozenset({Method.SEARCH, Method.FULLMATCH})
VALIDATORS = {"RegexValidator": 0, "RegexField": 0, "re_path": 0}
"""What of Django and its REST framework takes a pattern; they search."""
LOOKUPS = ("__regex", "__iregex")
OTHER_ENGINES = ("_regex",)  # of pyarrow: RE2, which is linear whatever the pattern
RUST = {"Field", "StringConstraints", "Query"}  # of pydantic: `pattern=` goes to Rust's regex, linear likewise


class Unresolved(Exception):
    """The text of the pattern is made while the program runs."""


@dataclass(frozen=True, slots=True)
class Use:
    """One pattern. `name`: module and the name or the line it stands at; `text` is None where it is not constant."""

    path: str
    name: str
    line: int
    text: str | bytes | None
    flags: int
    methods: frozenset[Method]
    why: str = ""

    @property
    def key(self) -> str:
        return f"{self.path}::{self.name}"


@dataclass
class Module:
    path: str
    name: str
    tree: ast.Module

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """Names that the module gives to a value; of its classes and functions those that it has not itself."""
        found: dict[str, ast.expr] = {}
        for node in [*self.tree.body, *self.nodes]:
            if isinstance(node, ast.Assign):
                named = [pair for target in node.targets for pair in pairs(target, node.value)]
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                named = list(pairs(node.target, node.value))
            else:
                continue
            for name, value in named:
                found.setdefault(name, value)
        return found

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Name here -> (module, name there); "" where it is the module itself."""
        found: dict[str, tuple[str, str]] = {}
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    found[alias.asname or alias.name] = (node.module, alias.name)
        return found


def pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from pairs(one, other)


@dataclass
class Tree:
    """The modules below some folders of a root."""

    root: Path
    folders: Iterable[str]
    modules: dict[str, Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in self.folders:
            for path in sorted((self.root / folder).rglob("*.py")):
                inside = path.relative_to(self.root)
                name = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
                self.modules[name] = Module(str(inside), name, ast.parse(path.read_bytes()))

    # -- constants ---------------------------------------------------------------------------------------------------
    def value(self, node: ast.expr, module: Module, depth: int = 0) -> Any:
        """The constant that an expression is. Raises Unresolved."""
        if depth > 20:
            raise Unresolved("a constant that refers to itself")
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.resolve_name(node.id, module, depth)
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(part, module, depth + 1)) for part in node.values)
        if isinstance(node, ast.FormattedValue):
            return self.value(node.value, module, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.BitOr):
            left, right = (self.value(side, module, depth + 1) for side in (node.left, node.right))
            return left + right if isinstance(node.op, ast.Add) else left | right
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return [self.value(one, module, depth + 1) for one in node.elts]
        if isinstance(node, ast.Dict):
            return [self.value(one, module, depth + 1) for one in node.keys if one is not None]
        if isinstance(node, ast.Attribute):
            return self.attribute(node, module, depth)
        if isinstance(node, ast.Call):
            return self.call(node, module, depth)
        raise Unresolved(f"{ast.unparse(node)[:60]} is no constant")

    def resolve_name(self, name: str, module: Module, depth: int) -> Any:
        if name in module.constants:
            return self.value(module.constants[name], module, depth + 1)
        origin, there = module.imports.get(name, ("", ""))
        if origin in self.modules:
            return self.resolve_name(there, self.modules[origin], depth + 1)
        raise Unresolved(f"{name} is no constant of the tree")

    def attribute(self, node: ast.Attribute, module: Module, depth: int) -> Any:
        if isinstance(node.value, ast.Name) and node.value.id == "re":
            return int(getattr(re, node.attr))
        if node.attr in ("pattern", "regex"):
            return self.value(node.value, module, depth + 1)
        raise Unresolved(f"{ast.unparse(node)[:60]} is no constant")

    def call(self, node: ast.Call, module: Module, depth: int) -> Any:
        name = called(node)
        if name in ("compile", "RegexValidator", "frozenset", "sorted", "tuple", "list") and node.args:
            found = self.value(node.args[0], module, depth + 1)
            return sorted(found) if name == "sorted" else found
        if name == "escape":
            return re.escape(self.value(node.args[0], module, depth + 1))
        if name == "map" and ast.unparse(node.args[0]) == "re.escape":
            return [re.escape(one) for one in self.value(node.args[1], module, depth + 1)]
        if name == "join" and isinstance(node.func, ast.Attribute):
            return self.value(node.func.value, module, depth + 1).join(self.value(node.args[0], module, depth + 1))
        raise Unresolved(f"{ast.unparse(node)[:60]} is made while the program runs")

    # -- patterns ----------------------------------------------------------------------------------------------------
    def uses(self) -> Iterator[Use]:
        for module in self.modules.values():
            names = {id(value): name for name, value in module.constants.items()}
            for node in module.nodes:
                if isinstance(node, ast.Call):
                    yield from self.in_call(node, module, names.get(id(node), ""))
                    yield from self.in_lookups(node, module)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    yield from self.in_import(node, module)
                elif isinstance(node, ast.ClassDef):
                    yield from self.in_class(node, module)

    def in_call(self, node: ast.Call, module: Module, name: str) -> Iterator[Use]:
        function = called(node)
        of_re = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re"
        if of_re and function == "compile":
            yield self.use(node, 0, 1, module, name, self.methods(module, name) if name else BOTH)
        elif of_re and function in FUNCTIONS:
            method = Method(function) if function in tuple(Method) else Method.SEARCH
            yield self.use(node, 0, FUNCTIONS[function], module, name, frozenset({method}))
        elif function in VALIDATORS and (node.args or any(given.arg == "regex" for given in node.keywords)):
            yield self.use(node, VALIDATORS[function], 99, module, name, frozenset({Method.SEARCH}))

    def in_lookups(self, node: ast.Call, module: Module) -> Iterator[Use]:
        """`name__regex=` of Django's queries: SQLite has Python search."""
        for keyword in node.keywords:
            if keyword.arg and keyword.arg.endswith(LOOKUPS):
                call = ast.Call(node.func, [keyword.value], [], lineno=node.lineno)
                use = self.use(call, 0, 99, module, "", frozenset({Method.SEARCH}))
                ignores_case = keyword.arg.endswith("__iregex")
                yield replace(use, flags=use.flags | re.IGNORECASE) if ignores_case else use

    def in_import(self, node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[Use]:
        """Calls are found by the name `re`: under another one none would be read."""
        if isinstance(node, ast.Import):
            hidden = [alias.name for alias in node.names if alias.name == "re" and alias.asname not in (None, "re")]
        else:
            functions = {*FUNCTIONS, "compile", "*"} if node.module == "re" else set()
            hidden = [alias.name for alias in node.names if alias.name in functions]
        for name in hidden:
            why = f"write `import re`, and call it by that name, not by {name}"
            yield Use(module.path, f"line {node.lineno}", node.lineno, None, 0, BOTH, why)

    def in_class(self, node: ast.ClassDef, module: Module) -> Iterator[Use]:
        """Converters of paths: Django puts `regex` between ^ and $ of a search."""
        for one in node.body:
            if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "regex" for t in one.targets):
                call = ast.Call(ast.Name("converter"), [one.value], [], lineno=one.lineno)
                yield self.use(call, 0, 99, module, f"{node.name}.regex", frozenset({Method.FULLMATCH}))

    def use(
        self, node: ast.Call, place: int, flags_at: int, module: Module, name: str, methods: frozenset[Method]
    ) -> Use:
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        text, flags, why = None, 0, ""
        try:
            pattern = node.args[place] if len(node.args) > place else given.get("pattern", given.get("regex"))
            if pattern is None:
                raise Unresolved("no pattern given")
            text = self.value(pattern, module)
            option = node.args[flags_at] if len(node.args) > flags_at else given.get("flags")
            flags = self.value(option, module) if option is not None else 0
            if not isinstance(text, str | bytes):
                text, why = None, "no text"
        except Unresolved as error:
            why = str(error)
        return Use(module.path, name or self.enclosing(module, node), node.lineno, text, flags, methods, why)

    def enclosing(self, module: Module, node: ast.AST) -> str:
        """The function or the constant around a call, and which call of it this is."""
        around = [
            one
            for one in module.nodes
            if isinstance(one, ast.FunctionDef | ast.ClassDef | ast.Assign)
            and one.lineno <= node.lineno <= (one.end_lineno or one.lineno)
        ]
        if not around:
            return f"line {node.lineno}"
        inmost = max(around, key=lambda one: one.lineno)
        return (
            inmost.targets[0].id
            if isinstance(inmost, ast.Assign) and isinstance(inmost.targets[0], ast.Name)
            else (getattr(inmost, "name", f"line {node.lineno}"))
        )

    def methods(self, module: Module, name: str) -> frozenset[Method]:
        """How a compiled pattern is used, here and wherever it is imported; in every way where it is handed on."""
        found: set[Method] = self.methods_in(module, {name}, set(), name)
        for other, here in self.importers.get(f"{module.name}.{name}", ()):
            found |= self.methods_in(other, {here}, set(), name)
        for other, here in self.importers.get(module.name, ()):
            found |= self.methods_in(other, set(), {here}, name)
        return frozenset(found) or BOTH

    @cached_property
    def importers(self) -> dict[str, list[tuple[Module, str]]]:
        """Dotted name of what is imported -> where, and by which name."""
        found: dict[str, list[tuple[Module, str]]] = {}
        for module in self.modules.values():
            for here, origin in module.imports.items():
                found.setdefault(".".join(origin), []).append((module, here))
        return found

    def methods_in(self, module: Module, names: set[str], modules: set[str], name: str) -> set[Method]:
        found: set[Method] = set()
        under: set[int] = set()
        for node in module.nodes:
            if not isinstance(node, ast.Attribute):
                continue
            inner = node.value
            direct = isinstance(inner, ast.Name) and inner.id in names
            through = (
                isinstance(inner, ast.Attribute)
                and inner.attr == name
                and isinstance(inner.value, ast.Name)
                and inner.value.id in modules
            )
            if direct or through:
                under.add(id(inner))
                if node.attr in tuple(Method):
                    found.add(Method(node.attr))
                elif node.attr in FUNCTIONS or node.attr == "scanner":
                    found.add(Method.SEARCH)
        handed_on = any(
            isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load) and id(node) not in under
            for node in module.nodes
        )
        return found | BOTH if handed_on else found


def called(node: ast.Call) -> str:
    return str(getattr(node.func, "id", "") or getattr(node.func, "attr", ""))


def count_other_engines(tree: Tree) -> int:
    """Patterns that go to a linear engine: pydantic's `pattern=` to Rust's regex, pyarrow's *_regex to RE2."""
    found = 0
    for module in tree.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Call):
                found += called(node).endswith(OTHER_ENGINES)
                found += called(node) in RUST and any(given.arg == "pattern" for given in node.keywords)
    return found
