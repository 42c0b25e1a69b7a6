"""Conditions in SQL that mean the same on PostgreSQL and on SQLite. Columns are ours, values are always parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from apps.ml.experiments.filters.grammar import FilterError
from deepseek.messages import N_, Message

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FIRST_MS = (datetime(1, 1, 2, tzinfo=UTC) - EPOCH) // MILLISECOND  # a day within what a calendar can hold
LAST_MS = (datetime(9999, 12, 30, tzinfo=UTC) - EPOCH) // MILLISECOND
BIGGEST = 2**63 - 1
MAX_REGEX_CHARACTERS = 1000  # of a pattern that Python compares for SQLite, in steps of text times pattern
GLOB_SPECIAL = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]", "%": "*", "_": "?"})


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL with %s where its parameters go."""

    text: str
    params: tuple[Any, ...] = ()


TRUE, FALSE = Sql("1=1"), Sql("1=0")


def join_with_and(conditions: Iterable[Sql]) -> Sql:
    return join_sql(" AND ", list(conditions) or [TRUE])


def join_sql(between: str, parts: Sequence[Sql]) -> Sql:
    return Sql(between.join(part.text for part in parts), tuple(value for part in parts for value in part.params))


def fetch_rows(statement: Sql) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def format_placeholders(values: Iterable[Any]) -> str:
    """A %s for each of these parameters."""
    return ", ".join("%s" for _ in values)


def is_postgres() -> bool:
    return connection.vendor == "postgresql"


def build_exists(rows: Sql, *, negated: bool = False, apart: bool = False) -> Sql:
    """Whether there are such rows (`table x WHERE ...`).

    `apart`: asked for each row of the query by itself. PostgreSQL joins what EXISTS asks with all the rest, and with
    every further table it plans several times as long: with a dozen for minutes.
    """
    if apart:
        return Sql(f"(SELECT COUNT(*) FROM {rows.text}) {'= 0' if negated else '> 0'}", rows.params)
    return Sql(f"{'NOT ' if negated else ''}EXISTS (SELECT 1 FROM {rows.text})", rows.params)


# -- texts ----------------------------------------------------------------------------------------------------------
def build_text_condition(column: str, operator: str, value: str | Sequence[str]) -> Sql:
    """`column` (never an expression with parameters) compared with a text, or with each of several."""
    if operator == "LIKE":
        return build_like(column, str(value))
    if operator == "ILIKE":
        return build_ilike(column, str(value))
    if operator in ("IN", "NOT IN"):
        return Sql(f"{column} {operator} ({', '.join(['%s'] * len(value))})", tuple(value))
    return Sql(f"{column} {operator} %s", (value,))


def build_like(column: str, pattern: str) -> Sql:
    """Minds the case, and no character escapes another: PostgreSQL has one unless told, SQLite's LIKE has no case."""
    if is_postgres():
        return Sql(f"{column} LIKE %s ESCAPE ''", (pattern,))
    return Sql(f"{column} GLOB %s", (pattern.translate(GLOB_SPECIAL),))


def build_ilike(column: str, pattern: str) -> Sql:
    if is_postgres():
        return Sql(f"{column} ILIKE %s ESCAPE ''", (pattern,))
    if pattern.isascii():
        return Sql(f"{column} LIKE %s", (pattern,))
    # SQLite knows the case of ASCII only; Django gives it Python's regular expressions.
    if len(pattern) > MAX_REGEX_CHARACTERS:
        raise FilterError(
            Message(
                "Invalid pattern after ILIKE: {count} characters, at most {max_regex_characters} beyond ASCII.",
                count=len(pattern),
                max_regex_characters=MAX_REGEX_CHARACTERS,
            ),
            hint=N_("Shorten the pattern, or use LIKE."),
        )
    return Sql(f"{column} REGEXP %s", (convert_like_to_regex(pattern),))


def convert_like_to_regex(pattern: str) -> str:
    """A pattern of LIKE as a regular expression in any case, which takes no more steps than text times pattern.

    What stands between two % is sought once, from the left, and never again (an atomic group): a later place for it
    leaves less to the rest.
    """
    pieces = ["".join("." if letter == "_" else re.escape(letter) for letter in piece) for piece in pattern.split("%")]
    first, *between = pieces
    if not between:
        return rf"(?is)\A{first}\Z"
    *between, last = between
    sought = "".join(f"(?>.*?{piece})" for piece in between if piece)
    return rf"(?is)\A{first}{sought}.*{last}\Z"


# -- numbers and moments --------------------------------------------------------------------------------------------
def build_number_condition(column: str, operator: str, value: float) -> Sql:
    bounded = max(-BIGGEST, min(BIGGEST, value)) if isinstance(value, int) else value
    return Sql(f"{column} {operator} %s", (bounded,))


def build_moment_condition(column: str, operator: str, value: float) -> Sql:
    """A moment compared with a number of milliseconds; what the column has below a millisecond does not count."""
    value = max(-1e17, min(1e17, value))
    floor, ceiling = math.floor(value), math.ceil(value)
    if operator == ">":
        return build_since(column, floor + 1)
    if operator == ">=":
        return build_since(column, ceiling)
    if operator == "<":
        return build_before(column, ceiling)
    if operator == "<=":
        return build_before(column, floor + 1)
    in_millisecond = (
        FALSE if floor != ceiling else join_with_and([build_since(column, floor), build_before(column, floor + 1)])
    )
    if operator == "=":
        return in_millisecond
    return Sql(f"({column} IS NOT NULL AND NOT ({in_millisecond.text}))", in_millisecond.params)


def build_since(column: str, ms: int) -> Sql:
    return FALSE if ms > LAST_MS else Sql(f"{column} >= %s", (convert_to_timestamp(max(ms, FIRST_MS) * 1000),))


def build_before(column: str, ms: int) -> Sql:
    return FALSE if ms < FIRST_MS else Sql(f"{column} < %s", (convert_to_timestamp(min(ms, LAST_MS) * 1000),))


def convert_to_timestamp(microseconds: int) -> Any:
    """A parameter for a column of moments: so many microseconds after the beginning of 1970."""
    return connection.ops.adapt_datetimefield_value(EPOCH + timedelta(microseconds=microseconds))


def get_microseconds(moment: datetime | str | None) -> int | None:
    """A column of moments as a cursor gives it: SQLite keeps them as text, in UTC."""
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def get_milliseconds(moment: datetime | str | None) -> int | None:
    value = get_microseconds(moment)
    return None if value is None else value // 1000
