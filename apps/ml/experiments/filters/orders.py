"""Parse `order_by` of MLflow's searches: `identifier [ASC|DESC]`, ascending by default. No database access."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from apps.ml.experiments.filters.grammar import (
    DATASET,
    FilterError,
    Vocabulary,
    check_text,
    quote_key,
    resolve_identifier,
)
from apps.ml.experiments.filters.tokens import Token, TokenType, tokenize

FIELD = "order_by"
MOST_ORDERS = 20  # each may be a join
MAX_ORDER_CHARACTERS = 1000  # of one: a key has up to 250, and each may be doubled in quotes


@dataclass(frozen=True, slots=True)
class Order:
    kind: str
    key: str
    down: bool = False

    def __str__(self) -> str:
        return f"{self.kind}.{quote_key(self.key)} {'DESC' if self.down else 'ASC'}"


def read_orders(texts: Sequence[str], vocabulary: Vocabulary) -> tuple[Order, ...]:
    """The orders, first the one that matters most. Raises FilterError."""
    if len(texts) > MOST_ORDERS:
        raise build_order_error(f"Invalid order_by: {len(texts)} clauses, at most {MOST_ORDERS} are allowed.")
    orders = tuple(read_order(text, vocabulary) for text in texts)
    if len({(order.kind, order.key) for order in orders}) < len(orders):
        raise build_order_error(f"`order_by` contains duplicate fields: {list(texts)}")
    return orders


def read_order(text: str, vocabulary: Vocabulary) -> Order:
    check_text(text, FIELD, MAX_ORDER_CHARACTERS)
    path, down = split(text)
    kind, key = resolve_identifier(path, vocabulary, vocabulary.orderable, FIELD)
    if kind == DATASET:
        raise build_order_error(f"Invalid identifier type '{kind}'")
    return Order(kind, key, down)


def split(text: str) -> tuple[Token, bool]:
    """The identifier of an order, and whether it goes down."""
    tokens = tokenize(text)
    if not tokens or len(tokens) > 2 or tokens[0].sort != TokenType.PATH:
        raise build_order_error(f"Invalid order_by clause '{text}'. Could not be parsed.")
    way = tokens[1].text.lower() if len(tokens) == 2 else "asc"
    if way not in ("asc", "desc"):
        raise build_order_error(f"Invalid ordering key in order_by clause '{text}'.")
    if len(tokens) == 1 and re.fullmatch(r"asc|desc", tokens[0].text, re.IGNORECASE):
        raise build_order_error(f"Invalid order_by clause '{text}'. Could not be parsed.")
    return tokens[0], way == "desc"


def build_order_error(message: str) -> FilterError:
    return FilterError(message, field=FIELD)
