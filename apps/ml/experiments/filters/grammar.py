"""MLflow's filter language: `comparison AND comparison ...`, a comparison being `kind.key operator value`.

What it takes and what it says of the rest is MLflow's (specs of its REST API; the texts are those of its server), with
the place of the mistake. Pure: nothing here asks the database.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.core.errors import Invalid
from apps.ml.experiments.filters.tokens import DOUBLE, PATH, SINGLE, Token, TokenType, tokenize
from deepseek.messages import Message

Value = str | int | float | tuple[str, ...] | None

METRIC, PARAMETER, TAG, ATTRIBUTE, DATASET = "metric", "parameter", "tag", "attribute", "dataset"
NUMERIC_OPERATORS = ("=", "!=", ">", ">=", "<", "<=")
TEXT_OPERATORS = ("=", "!=", "LIKE", "ILIKE")
NULL_OPERATORS = ("IS NULL", "IS NOT NULL")
LIST_OPERATORS = ("IN", "NOT IN")
MAX_FILTER_CHARACTERS = 500_000  # room for MOST_LISTED ids in quotes
MAX_FILTER_TOKENS = 10_000  # where the parser of MLflow's server (sqlparse) stops; a list is one
MOST_COMPARISONS = 50  # of one filter: each is a subquery
MOST_LISTED = 10_000  # texts after IN
MOST_PATTERN = 8000  # characters after LIKE: no tag is longer, and SQLite takes no more than 50,000 bytes


class FilterError(Invalid):
    """A filter or an order that says nothing we know. `start`, `end`: the characters that are wrong."""

    code = "bad_filter"

    def __init__(self, message: str, *, start: int = 0, end: int = 0, field: str = "filter", hint: str = "") -> None:
        super().__init__(message, field=field, hint=hint or None)
        self.start, self.end = start, end


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition. `key` is a name of the vocabulary or of a metric, parameter or tag; its place does not compare."""

    kind: str
    key: str
    operator: str
    value: Value
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        name = f"{self.kind}.{quote_key(self.key)} {self.operator}"
        return name if self.value is None else f"{name} {quote_value(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What can be compared, and how MLflow refuses what cannot."""

    kinds: Mapping[str, str]  # the word in front of the dot -> kind
    attributes: Mapping[str, str]  # name or alias -> name
    numeric: frozenset[str] = frozenset()  # attributes that are numbers
    listed: frozenset[str] = frozenset()  # attributes that IN takes
    listed_kinds: frozenset[str] = frozenset({DATASET})  # kinds of which it takes any key
    nullable: frozenset[str] = frozenset()  # kinds that IS NULL takes
    datasets: frozenset[str] = frozenset()  # keys of the kind dataset
    orderable: Mapping[str, str] = field(default_factory=dict)  # name or alias -> name
    bare: bool = False  # a text may stand without quotes
    texts_as_numbers: bool = False  # a number may stand in quotes
    kind_text: str = "Invalid entity type '{word}'. Valid entity types are ('attribute', 'tag', 'tags')"
    clause_text: str = "Invalid clause(s) in filter string: {clauses}"
    clause_quote: str = ""
    operator_texts: Mapping[str, str] = field(default_factory=dict)  # kind, or "number" -> text

    def is_number(self, kind: str, key: str) -> bool:
        return kind == METRIC or (kind == ATTRIBUTE and key in self.numeric)

    def list_operators(self, kind: str, key: str) -> tuple[str, ...]:
        """The operators that may follow `kind.key`."""
        if self.is_number(kind, key):
            return NUMERIC_OPERATORS
        with_list = kind in self.listed_kinds or (kind == ATTRIBUTE and key in self.listed)
        null = NULL_OPERATORS if kind in self.nullable else ()
        return (*TEXT_OPERATORS, *(LIST_OPERATORS if with_list else ()), *null)


# -- reading --------------------------------------------------------------------------------------------------------
def parse(text: str, vocabulary: Vocabulary) -> tuple[Comparison, ...]:
    """The comparisons of a filter, all of which must hold; none for "". Raises FilterError and nothing else."""
    if not text:
        return ()
    check_text(text, "filter", MAX_FILTER_CHARACTERS)
    tokens = tokenize(text, MAX_FILTER_TOKENS + 1)
    if len(tokens) > MAX_FILTER_TOKENS:
        message = Message(
            "Invalid filter: more words and signs than the {max_filter_tokens} that are allowed.",
            max_filter_tokens=MAX_FILTER_TOKENS,
        )
        raise FilterError(message, end=len(text))
    if not tokens:
        raise FilterError(Message("Invalid filter '{text}'. Could not be parsed.", text=text), end=len(text))
    stop = next((token for token in tokens[:-1] if token.text == ";"), None)
    if stop is not None:
        message = Message(
            "Search filter contained multiple expression {text!r}. Provide AND-ed expression list.", text=text
        )
        raise FilterError(message, start=stop.start, end=stop.end)
    triples = group_tokens(text, tokens, vocabulary)
    if len(triples) > MOST_COMPARISONS:
        message = Message(
            "Invalid filter: {count} comparisons, at most {most_comparisons} are allowed.",
            count=len(triples),
            most_comparisons=MOST_COMPARISONS,
        )
        raise FilterError(message, end=len(text))
    comparisons = [build_comparison(triple, vocabulary) for triple in triples]
    for comparison, (_, operator, _) in zip(comparisons, triples, strict=True):
        check_operator(comparison, operator, vocabulary)
    return tuple(comparisons)


def check_text(text: str, name: str, most: int) -> None:
    """Raise FilterError for more than `most` characters, and for what no database keeps: NUL, half a surrogate pair."""
    if len(text) > most:
        message = Message(
            "Invalid {name}: {count} characters, at most {most} are allowed.", name=name, count=len(text), most=most
        )
        raise FilterError(message, end=len(text), field=name)
    place = next((at for at, letter in enumerate(text) if letter == "\x00" or "\ud800" <= letter <= "\udfff"), None)
    if place is not None:
        message = Message(
            "Invalid {name}: the character U+{ord:04X} cannot be part of a text.", name=name, ord=ord(text[place])
        )
        raise FilterError(message, start=place, end=place + 1, field=name)


@dataclass(frozen=True, slots=True)
class Operator:
    name: str
    start: int
    end: int


Triple = tuple[Token, Operator, Token | None]
OPERANDS = frozenset({TokenType.TEXT, TokenType.NUMBER, TokenType.PATH, TokenType.LIST})


def group_tokens(text: str, tokens: Sequence[Token], vocabulary: Vocabulary) -> list[Triple]:
    """Each comparison's parts. MLflow minds neither an AND too many nor one too few; anything else is no clause."""
    triples: list[Triple] = []
    odd: list[Token] = []
    at = 0
    while at < len(tokens):
        triple, used = read_triple(tokens, at)
        if triple is not None:
            triples.append(triple)
        elif tokens[at].word != "AND":
            odd.append(tokens[at])
        at += used
    if odd:
        quote = vocabulary.clause_quote
        clauses = ", ".join(f"{quote}{token.text}{quote}" for token in odd)
        message = vocabulary.clause_text.format(clauses=clauses, text=repr(text))
        raise FilterError(message, start=odd[0].start, end=odd[0].end)
    return triples


def read_triple(tokens: Sequence[Token], at: int) -> tuple[Triple | None, int]:
    """The comparison that begins at this token, and how many tokens it takes."""
    first, rest = tokens[at], tokens[at + 1 : at + 4]
    if first.sort not in OPERANDS:
        return None, 1
    words = [token.word for token in rest]
    for null in (["IS", "NULL"], ["IS", "NOT", "NULL"]):
        if words[: len(null)] == null and first.sort == TokenType.PATH:
            return (first, Operator(" ".join(null), rest[0].start, rest[len(null) - 1].end), None), len(null) + 1
    size = count_operator_tokens(rest)
    if not size or len(rest) <= size:
        return None, 1
    operator = Operator(" ".join(token.text.upper() for token in rest[:size]), rest[0].start, rest[size - 1].end)
    value = rest[size]
    listing = operator.name in LIST_OPERATORS
    if value.sort not in OPERANDS or (listing and (value.sort != TokenType.LIST or first.sort != TokenType.PATH)):
        return None, 1
    return (first, operator, value), size + 2


def count_operator_tokens(rest: Sequence[Token]) -> int:
    """How many of these tokens are an operator: 0, 1 (`=`, LIKE, IN) or 2 (NOT IN)."""
    words = [token.word for token in rest]
    if rest and (rest[0].sort == TokenType.SIGN or words[0] in {"LIKE", "ILIKE", "RLIKE", "IN"}):
        return 1
    return 2 if words[:1] == ["NOT"] and words[1:2] and words[1] in {"LIKE", "ILIKE", "RLIKE", "IN"} else 0


def build_comparison(triple: Triple, vocabulary: Vocabulary) -> Comparison:
    left, operator, right = triple
    if left.sort != TokenType.PATH:
        message: str = Message("Invalid comparison clause. Expected 'Identifier' found '{text}'", text=left.text)
        raise FilterError(message, start=left.start, end=left.end)
    kind, key = resolve_identifier(left, vocabulary, vocabulary.attributes)
    if right is None:
        if kind not in vocabulary.nullable:
            message = describe_null_error(kind, key, vocabulary)
            raise FilterError(message, start=operator.start, end=operator.end)
        return Comparison(kind, key, operator.name, None, left.start, operator.end)
    return Comparison(kind, key, operator.name, parse_value(kind, key, right, vocabulary), left.start, right.end)


def describe_null_error(kind: str, key: str, vocabulary: Vocabulary) -> str:
    kinds = [f"{kind}s" if kind != PARAMETER else "params" for kind in (TAG, PARAMETER) if kind in vocabulary.nullable]
    if not kinds:
        return Message("IS NULL / IS NOT NULL is not supported for '{kind}' '{key}'", kind=kind, key=key)
    return Message(
        "IS NULL / IS NOT NULL is only supported for {kinds}, not for '{kind}' '{key}'",
        kinds=" and ".join(kinds),
        kind=kind,
        key=key,
    )


def resolve_identifier(
    token: Token, vocabulary: Vocabulary, attributes: Mapping[str, str], name: str = "filter"
) -> tuple[str, str]:
    """Kind and key of `kind.key`, or of a bare attribute."""
    word, dot, key = token.text.partition(".")
    if not dot:
        word, key = "", word
    kind = vocabulary.kinds.get(strip_quotes(word, "`")) if dot else ATTRIBUTE
    wrong = ""
    if kind is None:
        wrong = vocabulary.kind_text.format(word=strip_quotes(word, "`"))
        raise FilterError(wrong, start=token.start, end=token.start + len(word), field=name)
    key = strip_quotes(strip_quotes(key, "'\""), "`")
    if kind == ATTRIBUTE:
        if key not in attributes:
            wrong = Message(
                "Invalid attribute key '{key}' specified. Valid keys are '{shown}'",
                key=key,
                shown=format_names(attributes),
            )
        key = attributes.get(key, key)
    elif kind == DATASET and key not in vocabulary.datasets:
        wrong = Message(
            "Invalid dataset key '{key}' specified. Valid keys are '{shown}'",
            key=key,
            shown=format_names(vocabulary.datasets),
        )
    if wrong:
        raise FilterError(wrong, start=token.start, end=token.end, field=name)
    return kind, key


def parse_value(kind: str, key: str, token: Token, vocabulary: Vocabulary) -> Value:
    place: dict[str, Any] = {"start": token.start, "end": token.end}
    if vocabulary.is_number(kind, key):
        text = strip_quotes(token.text, "'\"") if vocabulary.texts_as_numbers else token.text
        if token.sort == TokenType.NUMBER or (text != token.text and re.fullmatch(r"-?\d+", text)):
            return parse_number(text) if kind == ATTRIBUTE else float(text)
        what = Message("metric") if kind == METRIC else Message("numeric attribute: {key}", key=key)
        raise FilterError(
            Message("Expected numeric value type for {what}. Found {text}", what=what, text=token.text), **place
        )
    if token.sort in (TokenType.TEXT, TokenType.PATH):
        if token.sort == TokenType.PATH and not re.fullmatch(DOUBLE, token.text, re.DOTALL) and not vocabulary.bare:
            raise FilterError(
                Message(
                    "Parameter value is either not quoted or unidentified quote types used for string value "
                    "{text}. Use either single or double quotes.",
                    text=token.text,
                ),
                **place,
            )
        return strip_quotes(token.text, "'\"")
    if token.sort == TokenType.LIST and (kind == ATTRIBUTE or kind in vocabulary.listed_kinds):
        if kind == ATTRIBUTE and key not in vocabulary.listed:
            raise FilterError(
                Message(
                    "Only {listed} attributes support comparison with a list of quoted string values.",
                    listed=sorted(vocabulary.listed),
                ),
                **place,
            )
        return parse_text_list(token)
    if token.sort == TokenType.NUMBER and vocabulary.bare:
        return token.text
    if kind == ATTRIBUTE:
        raise FilterError(
            Message("Expected a quoted string value for attributes. Got value {text}", text=token.text), **place
        )
    if kind == DATASET:
        raise FilterError(
            Message("Expected a quoted string value for dataset attributes. Got value {text}", text=token.text), **place
        )
    raise FilterError(
        Message(
            "Expected a quoted string value for {kind} (e.g. 'my-value'). Got value {text}", kind=kind, text=token.text
        ),
        **place,
    )


def parse_number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"-?\d{1,40}", text) else float(text)


def parse_text_list(token: Token) -> tuple[str, ...]:
    """The texts in parentheses, written as Python writes them."""
    place: dict[str, Any] = {"start": token.start, "end": token.end}
    about = Message("While parsing a list in the query, expected")
    try:
        parsed = ast.literal_eval(token.text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise FilterError(
            Message("{about} a non-empty list of string values, but got ill-formed list.", about=about), **place
        ) from None
    values = parsed if isinstance(parsed, tuple) else (parsed,)
    if not values:
        raise FilterError(
            Message("{about} a non-empty list of string values, but got empty list", about=about), **place
        )
    if not all(isinstance(text, str) for text in values):
        said = Message(
            "{about} string value, punctuation, or whitespace, but got different type in list: {found}",
            about=about,
            found=values,
        )
        raise FilterError(said, **place)
    if len(values) > MOST_LISTED:
        raise FilterError(
            Message(
                "{about} at most {most_listed} values, but got {count}",
                about=about,
                most_listed=MOST_LISTED,
                count=len(values),
            ),
            **place,
        )
    for text in values:
        check_text(text, "filter", MAX_FILTER_CHARACTERS)
    return values


def check_operator(comparison: Comparison, operator: Operator, vocabulary: Vocabulary) -> None:
    allowed = vocabulary.list_operators(comparison.kind, comparison.key)
    if comparison.operator in allowed:
        value = comparison.value
        if comparison.operator in ("LIKE", "ILIKE") and isinstance(value, str) and len(value) > MOST_PATTERN:
            message: str = Message(
                "Invalid pattern after {operator}: {count} characters, at most {most_pattern}.",
                operator=comparison.operator,
                count=len(value),
                most_pattern=MOST_PATTERN,
            )
            raise FilterError(message, start=operator.start, end=operator.end)
        if (comparison.operator in LIST_OPERATORS) == isinstance(value, tuple):
            return
        message = Message(
            "Invalid comparison of a list of values by '{operator}'. Use IN or NOT IN.", operator=comparison.operator
        )
        raise FilterError(message, start=operator.start, end=operator.end)
    sort = "number" if vocabulary.is_number(comparison.kind, comparison.key) else comparison.kind
    text = vocabulary.operator_texts.get(sort, "Invalid comparator '{operator}' not one of '{allowed}'")
    message = text.format(operator=comparison.operator, allowed=format_names(allowed), key=comparison.key)
    raise FilterError(message, start=operator.start, end=operator.end)


# -- writing --------------------------------------------------------------------------------------------------------
def strip_quotes(text: str, quotes: str) -> str:
    """Without the quotes around it, if it has some of these."""
    return text[1:-1] if len(text) >= 2 and text[0] in quotes and text[-1] == text[0] else text


def format_names(names: Sequence[str] | Mapping[str, str] | frozenset[str]) -> str:
    return "{" + ", ".join(repr(name) for name in (names if isinstance(names, tuple) else sorted(names))) + "}"


def quote_key(key: str) -> str:
    if key == "" or re.fullmatch(r"\w+(\.\w+)*", key):
        return key
    return f'"{key}"' if "`" in key else f"`{key}`"


def quote_value(value: str | int | float | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(repr, value))})"
    if not isinstance(value, str):
        return repr(value)
    single = f"'{value}'"
    return single if re.fullmatch(SINGLE, single, re.DOTALL) else f'"{value}"'


def parse_path(text: str) -> Token | None:
    """The text as a token, if it is one path from end to end."""
    return Token(TokenType.PATH, text, 0, len(text)) if re.fullmatch(PATH, text, re.DOTALL) else None
