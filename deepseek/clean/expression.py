"""Arithmetic on columns, as a plan may say it: a grammar of our own and no eval. Light to import, no numbers here.

sum     = product (("+" | "-") product)*
product = power (("*" | "/") power)*
power   = sign ("**" power)?          as in Python: -2 ** 2 is -(2 ** 2)
sign    = "-" power | atom
atom    = number | column | function "(" sum ("," sum)* ")" | "(" sum ")"
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FUNCTIONS = {"abs": 1, "sqrt": 1, "log": 1, "exp": 1, "round": 1, "floor": 1, "ceil": 1, "min": 2, "max": 2}
"""Functions and how many arguments they take."""
DEPTH = 50
TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|`([^`]+)`|([^\W\d]\w*)|(\*\*|[-+*/(),]))"
)


class ExpressionError(ValueError):
    """What is wrong with an expression, and at which character."""


@dataclass(frozen=True, slots=True)
class Node:
    """`op`: number, column, neg, one of + - * / **, or a function. `value`: the number, or the column's name."""

    op: str
    value: float | str = ""
    parts: tuple["Node", ...] = ()


def parse(text: str) -> Node:
    """The expression as a tree. Raises ExpressionError."""
    reader = _Reader(text)
    node = reader.sum(0)
    if reader.kind:
        raise ExpressionError(f"There is {reader.word!r} where the expression should end.")
    return node


def columns_in(node: Node) -> list[str]:
    """The columns that the tree names, each once, in the order of the text."""
    return list(dict.fromkeys(_names(node)))


def _names(node: Node) -> Iterator[str]:
    if node.op == "column":
        yield str(node.value)
    for part in node.parts:
        yield from _names(part)


class _Reader:
    """One token ahead: `kind` is number, column, name, sign, or empty at the end."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.end = text, 0, len(text.rstrip())
        self.kind = self.word = ""
        self.step()

    def step(self) -> None:
        if self.at >= self.end:
            self.kind = self.word = ""
            return
        found = TOKEN.match(self.text, self.at)
        if found is None:
            rest = self.text[self.at :].strip()
            raise ExpressionError(f"Character {len(self.text) - len(rest) + 1}, {rest[:1]!r}, cannot stand here.")
        self.at = found.end()
        kind = found.lastindex or 0
        self.kind, self.word = ("number", "column", "name", "sign")[kind - 1], found[kind]

    def take(self, *signs: str) -> str:
        if self.kind == "sign" and self.word in signs:
            word = self.word
            self.step()
            return word
        return ""

    def sum(self, depth: int) -> Node:
        if depth > DEPTH:
            raise ExpressionError(f"It is nested more than {DEPTH} deep.")
        node = self.product(depth)
        while sign := self.take("+", "-"):
            node = Node(sign, parts=(node, self.product(depth)))
        return node

    def product(self, depth: int) -> Node:
        node = self.signed(depth)
        while sign := self.take("*", "/"):
            node = Node(sign, parts=(node, self.signed(depth)))
        return node

    def signed(self, depth: int) -> Node:
        if depth > DEPTH:
            raise ExpressionError(f"It is nested more than {DEPTH} deep.")
        if self.take("-"):
            return Node("neg", parts=(self.signed(depth + 1),))
        node = self.atom(depth)
        if self.take("**"):
            node = Node("**", parts=(node, self.signed(depth + 1)))
        return node

    def atom(self, depth: int) -> Node:
        kind, word = self.kind, self.word
        if kind == "sign" and self.take("("):
            node = self.sum(depth + 1)
            self.close()
            return node
        if kind not in ("number", "column", "name"):
            raise ExpressionError(f"There is {word!r} where a value should be." if word else "It ends too early.")
        self.step()
        if kind == "number":
            return Node("number", float(word))
        if kind == "name" and word in FUNCTIONS and self.take("("):
            return self.call(word, depth)
        return Node("column", word)

    def call(self, name: str, depth: int) -> Node:
        parts = [self.sum(depth + 1)]
        while self.take(","):
            parts.append(self.sum(depth + 1))
        self.close()
        if len(parts) != FUNCTIONS[name]:
            raise ExpressionError(f"{name} takes {FUNCTIONS[name]} arguments, not {len(parts)}.")
        return Node(name, parts=tuple(parts))

    def close(self) -> None:
        if not self.take(")"):
            raise ExpressionError("A parenthesis is not closed.")
