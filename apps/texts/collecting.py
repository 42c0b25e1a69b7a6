"""Finds every text that a person may read on a page and that its author did not mark for translation.

Titles, docs, units and words of the specs: the engine knows no web, so it has no gettext. Messages and hints of
errors: they are kept in English in the trail, in job records and in REST answers, and are translated only where a
page shows them. The lists beside this module are written from the source by `manage.py collect_texts`; the catalogue
is made from the lists. Reads source as text: no module of the engine is imported.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

HOLE = "\0"  # where a value stands in a message
MOST_FORMS = 64  # of one message that is put together from parts
LEAST_LETTERS = 6  # of a message beside its values: less would fit anything
KEYS = frozenset({"message", "hint"})
CODE_FIRST = frozenset({"EngineError", "CsvError", "PydanticCustomError", "reason"})
REASONS = {"change_state": {"reason"}, "record_move": {1}, "add_state_event": {1}}  # why the state of something moved
NOTES = "notes"  # a list of sentences for the reader of a model's figures
STRING_METHODS = frozenset({"strip", "rstrip", "lstrip"})
GETTEXT = frozenset({"_", "gettext", "ngettext", "gettext_lazy", "pgettext"})


# -- specs ------------------------------------------------------------------------------------------------------------
def texts_of_spec(model: type[BaseModel]) -> set[str]:
    """The titles, docs, units and words of every field, through all models inside, whose own docs stand with them."""
    schema = model.model_json_schema()
    defined = schema.get("$defs", {})
    inside = list(defined.values())
    found = {str(part["description"]) for part in inside if part.get("description")}
    # What the entries of a list are called; a class that says nothing has its own name there.
    found |= {part["title"] for name, part in defined.items() if part.get("title", name) != name}
    for part in (schema, *inside):
        for told in part.get("properties", {}).values():
            found |= {str(told[key]) for key in ("title", "description", "unit") if told.get(key)}
            found |= set(told.get("words", {}).values())
    return found


# -- messages ---------------------------------------------------------------------------------------------------------
@dataclass
class Function:
    """A function of the source: what its names were set to, what it returns, where it takes a message."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
    names: dict[str, list[ast.expr]] = field(default_factory=dict)
    returns: list[ast.expr] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


@dataclass
class Source:
    """Some files, read together: a function that hands its argument on as a message takes messages itself."""

    functions: list[tuple[str, Function, dict[str, Function]]] = field(default_factory=list)
    public: dict[str, Function] = field(default_factory=dict)
    sinks: dict[str, set[int | str]] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[Path], errors: Iterable[str]) -> Source:
        source = cls(sinks={name: set(places) for name, places in REASONS.items()})
        for name in errors:
            source.sinks[name] = {0, "hint"}
        for name in CODE_FIRST:
            source.sinks[name] = {1, "message", "hint"}
        for path in sorted(paths):
            source.read(ast.parse(path.read_text("utf-8")))
        while source.follow():
            pass
        return source

    def read(self, tree: ast.Module) -> None:
        top = function_of(tree)
        own = {
            node.name: function_of(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self.functions.append(("", top, own))
        self.public |= {name: function for name, function in own.items() if not name.startswith("_")}
        self.functions += [(name, function, {**own, "": top}) for name, function in own.items()]

    def follow(self) -> bool:
        """Whether one more argument was found that becomes a message."""
        before = sum(map(len, self.sinks.values()))
        for name, function, _own in self.functions:
            for text in self.handed(function):
                if name and isinstance(text, ast.Name) and text.id in function.arguments:
                    self.sinks.setdefault(name, set()).update((function.arguments.index(text.id), text.id))
        return sum(map(len, self.sinks.values())) > before

    def handed(self, function: Function) -> Iterator[ast.expr]:
        """Every expression of the function that becomes a message or a hint."""
        for node in walk(function.node):
            if isinstance(node, ast.Call):
                wanted = self.sinks.get(called(node), set())
                yield from (given for place, given in enumerate(node.args) if place in wanted)
                yield from (given.value for given in node.keywords if given.arg in wanted)
                yield from noted(node)
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                yield from (value for key, value in pairs if isinstance(key, ast.Constant) and key.value in KEYS)
        for value in function.names.get(NOTES, []):
            yield from (
                value.elts if isinstance(value, ast.List) else [value.elt] if isinstance(value, ast.ListComp) else ()
            )

    def messages(self) -> set[str]:
        """Every message with its values as {0}, {1}."""
        found: set[str] = set()
        for _name, function, own in self.functions:
            for text in self.handed(function):
                reader = Reader(function, {**self.public, **own})
                found.update(numbered(form) for form in (*reader.forms(text), *reader.inner))
        return {text for text in found if len(re.sub(r"\{\d+\}|\W|\d", "", text)) >= LEAST_LETTERS}


@dataclass
class Reader:
    """What an expression of one function may be as a text, as far as the source says it."""

    function: Function
    own: dict[str, Function]
    depth: int = 0
    inner: list[str] = field(default_factory=list)  # texts that stand in others by a name

    def forms(self, node: ast.expr | None) -> list[str]:
        """Each text that it may be, its values as holes; none if nothing is known."""
        match node:
            case ast.Constant(value=str() as text):
                return [text]
            case ast.JoinedStr(values=parts):
                return joined([self.part(part) for part in parts])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return joined([self.part(left), self.part(right)])
            case ast.IfExp(body=body, orelse=other):
                return [*self.forms(body), *self.forms(other)]
            case ast.BoolOp(values=values):
                return [form for value in values for form in self.forms(value)]
            case ast.Name(id=name) if self.depth < 3:
                return self.named(name)
            case ast.Call() if called(node) == "PydanticCustomError":
                return []
            case ast.Call(func=ast.Attribute(value=inner, attr=method)) if method in STRING_METHODS:
                return [form.strip() for form in self.forms(inner)]
            case ast.Call(func=ast.Name(id=name)) if name in self.own and self.depth < 3:
                told = self.own[name]
                reader = Reader(told, self.own, self.depth + 1, self.inner)
                return [form for value in told.returns for form in reader.forms(value)]
        return []

    def part(self, node: ast.expr) -> list[str]:
        """As `forms`, of a piece of a text: what is not known is a value."""
        if isinstance(node, ast.FormattedValue):
            found = self.forms(node.value) if node.format_spec is None and node.conversion == -1 else []
            if not isinstance(node.value, ast.Name):
                return found or [HOLE]
            self.inner += [form for form in found if " " in form.strip()]
            return [HOLE]
        return self.forms(node) or [HOLE]

    def named(self, name: str) -> list[str]:
        around = self.own.get("")
        values = self.function.names.get(name) or (around.names.get(name, []) if around else [])
        inner = Reader(self.function, self.own, self.depth + 1, self.inner)
        return [form for value in values for form in inner.forms(value)]


def function_of(node: Any) -> Function:
    function = Function(node)
    if not isinstance(node, ast.Module):
        function.arguments = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if function.arguments[:1] in (["self"], ["cls"]):
            del function.arguments[0]
    for inner in walk(node):
        if isinstance(inner, ast.Return) and inner.value is not None:
            function.returns.append(inner.value)
        for target, value in assigned(inner):
            function.names.setdefault(target, []).append(value)
    return function


def assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement sets, each with its value."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=False)
                yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Everything of a function or module but the functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from walk(child)


def noted(node: ast.Call) -> Iterator[ast.expr]:
    """What a call adds to the notes, or hands over as them."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "append":
        yield from node.args if getattr(node.func.value, "id", "") == NOTES else ()
    for given in node.keywords:
        if given.arg == NOTES and isinstance(given.value, ast.List):
            yield from given.value.elts


def called(node: ast.Call) -> str:
    return str(getattr(node.func, "id", "") or getattr(node.func, "attr", ""))


def joined(parts: list[list[str]]) -> list[str]:
    return ["".join(chosen) for chosen in itertools.islice(itertools.product(*parts), MOST_FORMS)]


def numbered(form: str) -> str:
    """Holes as {0}, {1}; the named ones of pydantic's own messages too; a brace of the text itself is doubled."""
    parts = re.split(rf"({HOLE}|\{{[a-z_]+\}})", " ".join(form.split()))
    counter = itertools.count()
    return "".join(
        f"{{{next(counter)}}}" if place % 2 else part.replace("{", "{{").replace("}", "}}")
        for place, part in enumerate(parts)
    )
