"""Business rules over one annotation: a small typed language. It has no calls, loops or assignments.

    rule        = [ "if" condition "then" ] condition
    condition   = both { "or" both } ;  both = simple { "and" simple }
    simple      = "not" simple | "(" condition ")" | quantified | comparison
    quantified  = "every" LABEL ("has" | "is") RELATION        has: is its first entity; is: its second
                | "no" LABEL "overlaps" LABEL
    comparison  = value ("=" | "!=" | "<" | "<=" | ">" | ">=") value | value "in" "(" literal { "," literal } ")"
                | "contains" "(" text literal ")" | "set" "(" FIELD ")"
    value       = number | "text in quotes" | "count" "(" LABEL | RELATION ")" | "length" "(" ")" | "class" | FIELD

Types are checked when a rule is read: `count`, `length` and fields of numbers are numbers, other fields and `class` are
texts; a choice is compared with its choices only. A comparison with a field that is not set is false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepseek.labelling.marks import Marks
from deepseek.messages import N_, Message

MAX_DEPTH = 20
TOKEN = re.compile(r'\s*(?:(\d+(?:\.\d+)?)|"([^"]*)"|([A-Za-z][A-Za-z0-9_-]*)|(<=|>=|!=|[=<>(),]))')
KEYWORDS = frozenset(
    [
        "if",
        "then",
        "or",
        "and",
        "not",
        "every",
        "has",
        "is",
        "no",
        "overlaps",
        "in",
        "contains",
        "set",
        "count",
        "length",
        "class",
    ]
)
ValueType = Literal["number", "text"]
Value = float | str | None


class RuleError(Exception):
    """A condition that is none. `place`: the character at which it stops being one, from 0."""

    def __init__(self, place: int, reason: Message | str) -> None:
        super().__init__(str(reason))
        self.place, self.reason = place, reason


@dataclass(frozen=True)
class RuleScope:
    """The names that a rule may use: labels, relations, fields with kind and choices, and classes."""

    labels: frozenset[str] = frozenset()
    relations: frozenset[str] = frozenset()
    fields: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()


Condition = Callable[[Marks, str], bool]
"""Whether an annotation of this text meets it."""


@dataclass(frozen=True)
class Operand:
    type: ValueType
    read: Callable[[Marks, str], Value]
    choices: frozenset[str] | None = None  # of a choice: it can be nothing else
    literal: Value = None


@dataclass(frozen=True)
class RuleToken:
    kind: Literal["number", "text", "name", "sign", "end"]
    value: str
    place: int


COMPARISONS: dict[str, Callable[[Value, Value], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
    ">": lambda a, b: a > b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
}


def parse_rule(text: str, scope: RuleScope) -> Condition:
    """The condition that `text` writes. Raises RuleError with the place at fault."""
    return RuleParser(text, scope).parse()


def split_rule(text: str) -> list[RuleToken]:
    tokens, place = [], 0
    while text[place:].strip():
        match = TOKEN.match(text, place)
        if match is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            raise RuleError(at, Message("{sign!r} means nothing here.", sign=text[at]))
        number, quoted, name, sign = match.groups()
        at = match.end() - len(match.group().lstrip())
        if number is not None:
            tokens.append(RuleToken("number", number, at))
        elif quoted is not None:
            tokens.append(RuleToken("text", quoted, at))
        elif name is not None:
            tokens.append(RuleToken("name", name, at))
        else:
            tokens.append(RuleToken("sign", sign, at))
        place = match.end()
    return [*tokens, RuleToken("end", "", len(text))]


class RuleParser:
    """Recursive descent with one token ahead."""

    def __init__(self, text: str, scope: RuleScope) -> None:
        self.tokens, self.scope, self.next, self.depth = split_rule(text), scope, 0, 0

    @property
    def token(self) -> RuleToken:
        return self.tokens[self.next]

    def take(self) -> RuleToken:
        token = self.token
        if token.kind != "end":
            self.next += 1
        return token

    def accept(self, value: str) -> bool:
        if self.token.kind in ("name", "sign") and self.token.value == value:
            self.next += 1
            return True
        return False

    def expect(self, value: str) -> None:
        if not self.accept(value):
            raise RuleError(self.token.place, Message("{wanted!r} is missing.", wanted=value))

    def parse(self) -> Condition:
        premise = None
        if self.accept("if"):
            premise = self.parse_any()
            self.expect("then")
        conclusion = self.parse_any()
        if self.token.kind != "end":
            raise RuleError(self.token.place, Message("{word!r} is not expected here.", word=self.token.value))
        if premise is None:
            return conclusion
        return lambda marks, text: not premise(marks, text) or conclusion(marks, text)

    def parse_any(self) -> Condition:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RuleError(self.token.place, N_("It is nested too deeply."))
        parts = [self.parse_all()]
        while self.accept("or"):
            parts.append(self.parse_all())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else lambda marks, text: any(part(marks, text) for part in parts)

    def parse_all(self) -> Condition:
        parts = [self.parse_simple()]
        while self.accept("and"):
            parts.append(self.parse_simple())
        return parts[0] if len(parts) == 1 else lambda marks, text: all(part(marks, text) for part in parts)

    def parse_simple(self) -> Condition:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RuleError(self.token.place, N_("It is nested too deeply."))
        try:
            if self.accept("not"):
                inner = self.parse_simple()
                return lambda marks, text: not inner(marks, text)
            if self.accept("("):
                inside = self.parse_any()
                self.expect(")")
                return inside
            if self.accept("every"):
                return self.parse_every()
            if self.accept("no"):
                first = self.take_name(self.scope.labels, N_("a label"))
                self.expect("overlaps")
                second = self.take_name(self.scope.labels, N_("a label"))
                return lambda marks, text: not has_overlap(marks, first, second)
            if self.accept("contains"):
                expected_text = self.take_text()
                return lambda marks, text: expected_text in text
            if self.accept("set"):
                self.expect("(")
                name = self.take_name(frozenset(self.scope.fields), N_("a field"))
                self.expect(")")
                return lambda marks, text: marks.fields.get(name) is not None
            return self.parse_comparison()
        finally:
            self.depth -= 1

    def parse_every(self) -> Condition:
        label = self.take_name(self.scope.labels, N_("a label"))
        if not (self.token.value in ("has", "is") and self.token.kind == "name"):
            raise RuleError(self.token.place, Message("{wanted!r} is missing.", wanted="has"))
        end = self.take().value
        relation = self.take_name(self.scope.relations, N_("a relation"))
        return lambda marks, text: is_in_every(marks, label, relation, as_source=end == "has")

    def parse_comparison(self) -> Condition:
        place = self.token.place
        left = self.parse_value()
        if self.accept("in"):
            options = self.parse_options(left)
            return lambda marks, text: left.read(marks, text) in options
        if self.token.kind != "sign" or self.token.value not in COMPARISONS:
            raise RuleError(self.token.place, N_("A comparison is missing, such as = or >=."))
        sign, at = self.take().value, self.token.place
        right = self.parse_value()
        check_types(left, right, sign, place, at)
        compare = COMPARISONS[sign]

        def meets(marks: Marks, text: str) -> bool:
            a, b = left.read(marks, text), right.read(marks, text)
            return a is not None and b is not None and compare(a, b)

        return meets

    def parse_options(self, left: Operand) -> frozenset[Value]:
        self.expect("(")
        options = []
        while True:
            place = self.token.place
            option = self.parse_value()
            if option.literal is None:
                raise RuleError(place, N_("A number or a text in quotes is missing."))
            check_types(left, option, "=", place, place)
            options.append(option.literal)
            if not self.accept(","):
                break
        self.expect(")")
        return frozenset(options)

    def parse_value(self) -> Operand:
        token = self.take()
        if token.kind == "number":
            number = float(token.value)
            return Operand("number", lambda marks, text: number, literal=number)
        if token.kind == "text":
            quoted = token.value
            return Operand("text", lambda marks, text: quoted, literal=quoted)
        if token.kind == "name" and token.value == "count":
            self.expect("(")
            name = self.take_name(self.scope.labels | self.scope.relations, N_("a label or relation"))
            self.expect(")")
            return Operand("number", lambda marks, text: count_marks(marks, name))
        if token.kind == "name" and token.value == "length":
            self.expect("(")
            self.expect(")")
            return Operand("number", lambda marks, text: len(text))
        if token.kind == "name" and token.value == "class" and self.scope.classes:
            return Operand("text", lambda marks, text: marks.label or None, self.scope.classes)
        if token.kind == "name" and token.value in self.scope.fields:
            kind, choices = self.scope.fields[token.value]
            return Operand(
                "number" if kind == "number" else "text",
                lambda marks, text: marks.fields.get(token.value),
                frozenset(choices) if choices else None,
            )
        if token.kind == "end":
            raise RuleError(token.place, N_("A value is missing."))
        raise RuleError(token.place, Message("There is no field {name!r}.", name=token.value))

    def take_name(self, names: frozenset[str], what: str) -> str:
        token = self.take()
        if token.kind != "name" or token.value not in names:
            raise RuleError(
                token.place, Message("{word!r} is not {what} of this schema.", word=token.value, what=Message(what))
            )
        return token.value

    def take_text(self) -> str:
        self.expect("(")
        token = self.take()
        if token.kind != "text":
            raise RuleError(token.place, N_("A text in quotes is missing."))
        self.expect(")")
        return token.value


def check_types(left: Operand, right: Operand, sign: str, place: int, at: int) -> None:
    if left.type != right.type:
        raise RuleError(at, Message("A {left} is compared with a {right}.", left=left.type, right=right.type))
    if left.type == "text" and sign not in ("=", "!="):
        raise RuleError(at, Message("Texts are compared by = and != alone, not by {sign}.", sign=sign))
    for operand, counterpart, where in ((left, right, at), (right, left, place)):
        if operand.choices and counterpart.literal is not None and counterpart.literal not in operand.choices:
            raise RuleError(where, Message("{value!r} is none of its choices.", value=counterpart.literal))


def count_marks(marks: Marks, name: str) -> float:
    return float(
        sum(span.label == name for span in marks.spans) + sum(relation.type == name for relation in marks.relations)
    )


def is_in_every(marks: Marks, label: str, relation: str, *, as_source: bool) -> bool:
    """Whether every span of this label is an end of such a relation."""
    ends = {row.source if as_source else row.target for row in marks.relations if row.type == relation}
    return all(place in ends for place, span in enumerate(marks.spans) if span.label == label)


def has_overlap(marks: Marks, first: str, second: str) -> bool:
    return any(
        a is not b and a.label == first and b.label == second and a.start < b.end and b.start < a.end
        for a in marks.spans
        for b in marks.spans
    )
