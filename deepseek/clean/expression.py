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
MAX_DEPTH = 50
TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|`([^`]+)`|([^\W\d]\w*)|(\*\*|[-+*/(),]))"
)


class ExpressionError(ValueError):
    """What is wrong with an expression, and at which character."""


@dataclass(frozen=True, slots=True)
class ExpressionNode:
    """`op`: number, column, neg, one of + - * / **, or a function. `value`: the number, or the column's name."""

    op: str
    value: float | str = ""
    parts: tuple["ExpressionNode", ...] = ()


def parse_expression(text: str) -> ExpressionNode:
    """The expression as a tree. Raises ExpressionError."""
    reader = _ExpressionParser(text)
    node = reader.parse_sum(0)
    if reader.kind:
        raise ExpressionError(f"There is {reader.word!r} where the expression should end.")
    return node


def list_columns(node: ExpressionNode) -> list[str]:
    """The columns that the tree names, each once, in the order of the text."""
    return list(dict.fromkeys(_iter_columns(node)))


def _iter_columns(node: ExpressionNode) -> Iterator[str]:
    if node.op == "column":
        yield str(node.value)
    for part in node.parts:
        yield from _iter_columns(part)


class _ExpressionParser:
    """One token ahead: `kind` is number, column, name, sign, or empty at the end."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.end = text, 0, len(text.rstrip())
        self.kind = self.word = ""
        self.advance()

    def advance(self) -> None:
        if self.at >= self.end:
            self.kind = self.word = ""
            return
        match = TOKEN.match(self.text, self.at)
        if match is None:
            rest = self.text[self.at :].strip()
            raise ExpressionError(f"Character {len(self.text) - len(rest) + 1}, {rest[:1]!r}, cannot stand here.")
        self.at = match.end()
        kind = match.lastindex or 0
        self.kind, self.word = ("number", "column", "name", "sign")[kind - 1], match[kind]

    def take(self, *signs: str) -> str:
        if self.kind == "sign" and self.word in signs:
            word = self.word
            self.advance()
            return word
        return ""

    def parse_sum(self, depth: int) -> ExpressionNode:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"It is nested more than {MAX_DEPTH} deep.")
        node = self.parse_product(depth)
        while sign := self.take("+", "-"):
            node = ExpressionNode(sign, parts=(node, self.parse_product(depth)))
        return node

    def parse_product(self, depth: int) -> ExpressionNode:
        node = self.parse_power(depth)
        while sign := self.take("*", "/"):
            node = ExpressionNode(sign, parts=(node, self.parse_power(depth)))
        return node

    def parse_power(self, depth: int) -> ExpressionNode:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"It is nested more than {MAX_DEPTH} deep.")
        if self.take("-"):
            return ExpressionNode("neg", parts=(self.parse_power(depth + 1),))
        node = self.parse_atom(depth)
        if self.take("**"):
            node = ExpressionNode("**", parts=(node, self.parse_power(depth + 1)))
        return node

    def parse_atom(self, depth: int) -> ExpressionNode:
        kind, word = self.kind, self.word
        if kind == "sign" and self.take("("):
            node = self.parse_sum(depth + 1)
            self.close()
            return node
        if kind not in ("number", "column", "name"):
            raise ExpressionError(f"There is {word!r} where a value should be." if word else "It ends too early.")
        self.advance()
        if kind == "number":
            return ExpressionNode("number", float(word))
        if kind == "name" and word in FUNCTIONS and self.take("("):
            return self.parse_call(word, depth)
        return ExpressionNode("column", word)

    def parse_call(self, name: str, depth: int) -> ExpressionNode:
        parts = [self.parse_sum(depth + 1)]
        while self.take(","):
            parts.append(self.parse_sum(depth + 1))
        self.close()
        if len(parts) != FUNCTIONS[name]:
            raise ExpressionError(f"{name} takes {FUNCTIONS[name]} arguments, not {len(parts)}.")
        return ExpressionNode(name, parts=tuple(parts))

    def close(self) -> None:
        if not self.take(")"):
            raise ExpressionError("A parenthesis is not closed.")
