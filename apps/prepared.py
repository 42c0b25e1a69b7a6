"""Statements that come by the thousand: PostgreSQL keeps their plans, for planning costs more than they do.

Elsewhere, and where somebody counts the statements, they go the ordinary way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models

M = TypeVar("M", bound=models.Model)


def fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    return run(sql, params, rows=True)[0]


def execute(sql: str, params: Sequence[Any]) -> int:
    """How many rows a statement wrote."""
    return run(sql, params, rows=False)[1]


def select(
    model: type[models.Model], columns: tuple[str, ...], *, order: str = "", limit: int = 0, **equal: Any
) -> list[tuple[Any, ...]]:
    """`values_list(*columns)` of the rows whose fields are equal to these; it costs a tenth of Django's in Python."""
    here = connections[DEFAULT_DB_ALIAS]
    if is_ordinary(here):
        found = model._default_manager.filter(**equal).order_by(*filter(None, [order])).values_list(*columns)
        return list(found[:limit] if limit else found)
    sql, readers = selection(model, columns, tuple(equal), order, limit)
    rows = fetch(sql, list(equal.values()))
    for place, read in readers:
        rows = [(*row[:place], read(row[place], None, here), *row[place + 1 :]) for row in rows]
    return rows


def first(model: type[M], columns: Collection[str], **equal: Any) -> M | None:
    """The row whose fields are equal to these, with those columns (a foreign key is `x_id`); others are deferred."""
    ordered = tuple(field.attname for field in model._meta.concrete_fields if field.attname in columns)
    rows = select(model, ordered, limit=1, **equal)
    return model.from_db(DEFAULT_DB_ALIAS, ordered, rows[0]) if rows else None


@cache
def selection(
    model: type[models.Model], columns: tuple[str, ...], equal: tuple[str, ...], order: str, limit: int
) -> tuple[str, list[tuple[int, Any]]]:
    """The SQL, and what reads columns that do not come as Python has them."""
    fields: list[Any] = [model._meta.get_field(name) for name in columns]
    where = " AND ".join(f"{quoted(model, name)} = %s" for name in equal)
    sql = f"SELECT {', '.join(quoted(model, name) for name in columns)} FROM {model._meta.db_table} WHERE {where}"  # noqa: S608 - names of the code's own
    sql += f" ORDER BY {quoted(model, order)}" if order else ""
    sql += f" LIMIT {limit}" if limit else ""
    readers = [(place, field.from_db_value) for place, field in enumerate(fields) if hasattr(field, "from_db_value")]
    return sql, readers


def insert(row: models.Model) -> None:
    """`row.save(force_insert=True)` for a model whose rows nothing listens to."""
    here = connections[DEFAULT_DB_ALIAS]
    sql, fields, numbered = insertion(type(row))
    written = fetch(sql, [field.get_db_prep_save(field.pre_save(row, True), here) for field in fields])
    if numbered:
        row.pk = written[0][0]
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def insert_many(model: type[models.Model], columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows of these columns (of a foreign key `x_id`), as bulk_create writes them; PostgreSQL copies them in."""
    here = connections[DEFAULT_DB_ALIAS]
    names = ", ".join(quoted(model, name) for name in columns)
    if is_ordinary(here):
        places, stored = ", ".join(["%s"] * len(columns)), here.ops.adapt_datetimefield_value
        sql = f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({places})"  # noqa: S608 - names of the code's own
        with here.cursor() as cursor:
            cursor.executemany(sql, [[stored(at) if isinstance(at, datetime) else at for at in row] for row in rows])
        return
    here.ensure_connection()
    sql = f"COPY {model._meta.db_table} ({names}) FROM STDIN"
    with here.wrap_database_errors, here.connection.cursor() as cursor, cursor.copy(sql) as copy:
        for row in rows:
            copy.write_row(row)


@cache
def insertion(model: type[models.Model]) -> tuple[str, list[Any], bool]:
    """The SQL, the fields whose values it takes, and whether the database gives the key."""
    key = model._meta.pk
    numbered = isinstance(key, models.AutoField)
    fields = [field for field in model._meta.concrete_fields if not (numbered and field is key)]
    names, places = ", ".join(quoted(model, field.name) for field in fields), ", ".join(["%s"] * len(fields))
    sql = f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({places}) RETURNING {quoted(model, key.name)}"  # noqa: S608 - as above
    return sql, fields, numbered


def quoted(model: type[models.Model], name: str) -> str:
    column: Any = model._meta.get_field(name).column  # type: ignore[union-attr]
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(column)


def is_ordinary(here: Any) -> bool:
    return here.vendor != "postgresql" or here.queries_logged or bool(here.execute_wrappers)


def run(sql: str, params: Sequence[Any], *, rows: bool) -> tuple[list[tuple[Any, ...]], int]:
    """Times among the parameters are aware ones."""
    here = connections[DEFAULT_DB_ALIAS]  # once: the usual name looks this up at every use of it
    if is_ordinary(here):
        stored = here.ops.adapt_datetimefield_value
        with here.cursor() as cursor:
            cursor.execute(sql, [stored(each) if isinstance(each, datetime) else each for each in params])
            return cursor.fetchall() if rows else [], cursor.rowcount
    from psycopg import Cursor

    here.ensure_connection()
    with here.wrap_database_errors, Cursor(here.connection) as cursor:
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if rows else [], cursor.rowcount
