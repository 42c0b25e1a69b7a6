"""Prepared statements for the calls of a training loop: PostgreSQL keeps their plans; planning costs more than they do.

Elsewhere, and where somebody counts the statements, they go through the ORM or an ordinary cursor. Used where the ORM
costs a call of MLflow's more than a tenth (benchmarks/RESULTS.md, "The ORM instead of prepared statements").
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain, groupby
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models, transaction

M = TypeVar("M", bound=models.Model)

MAX_ROWS_PER_INSERT = (
    200  # rows of one statement: PostgreSQL takes 65,535 values, and the text of each number of rows is kept
)


def fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    return run_statement(sql, params, rows=True)[0]


def execute(sql: str, params: Sequence[Any]) -> int:
    """How many rows a statement wrote."""
    return run_statement(sql, params, rows=False)[1]


def select(
    model: type[models.Model], columns: tuple[str, ...], *, limit: int = 0, **equal: Any
) -> list[tuple[Any, ...]]:
    """`values_list(*columns)` of the rows whose fields are equal to these; it costs a tenth of Django's in Python.

    A column may be of the row that a foreign key points to: `experiment__number`.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if use_orm_fallback(connection):
        queryset = model._default_manager.filter(**equal).order_by().values_list(*columns)
        return list(queryset[:limit] if limit else queryset)
    sql, converters = build_select(model, columns, tuple(equal), limit)
    rows = fetch(sql, list(equal.values()))
    for position, convert in converters:
        rows = [(*row[:position], convert(row[position], None, connection), *row[position + 1 :]) for row in rows]
    return rows


def select_first(model: type[M], columns: Collection[str], **equal: Any) -> M | None:
    """The row whose fields are equal to these, with those columns (a foreign key is `x_id`); others are deferred."""
    ordered = tuple(field.attname for field in model._meta.concrete_fields if field.attname in columns)
    rows = select(model, ordered, limit=1, **equal)
    return model.from_db(DEFAULT_DB_ALIAS, ordered, rows[0]) if rows else None


@cache
def build_select(
    model: type[models.Model], columns: tuple[str, ...], equal: tuple[str, ...], limit: int
) -> tuple[str, list[tuple[int, Any]]]:
    """The SQL, and what reads columns that do not come as Python has them."""
    table = model._meta.db_table
    chosen = ", ".join(quote_qualified_column(model, name) for name in columns)
    where = " AND ".join(f"{quote_qualified_column(model, name)} = %s" for name in equal)
    joins = "".join(dict.fromkeys(build_join(model, name.partition("__")[0]) for name in columns if "__" in name))
    sql = f"SELECT {chosen} FROM {table}{joins} WHERE {where}"  # noqa: S608 - names of the code's own
    sql += f" LIMIT {limit}" if limit else ""
    return sql, get_column_converters(model, columns)


def find_field(model: type[models.Model], name: str) -> Any:
    """The field of a column; `x__y` is the y of what the foreign key x points to."""
    own, _, of_other = name.partition("__")
    field: Any = model._meta.get_field(own)
    return find_field(field.remote_field.model, of_other) if of_other else field


def quote_qualified_column(model: type[models.Model], name: str) -> str:
    field = find_field(model, name)
    return f"{field.model._meta.db_table}.{connections[DEFAULT_DB_ALIAS].ops.quote_name(field.column)}"


def build_join(model: type[models.Model], name: str) -> str:
    field: Any = model._meta.get_field(name)
    target = field.remote_field.model._meta
    how = "LEFT JOIN" if field.null else "JOIN"
    return f" {how} {target.db_table} ON {target.db_table}.{target.pk.column} = {model._meta.db_table}.{field.column}"


def get_column_converters(model: type[models.Model], columns: tuple[str, ...]) -> list[tuple[int, Any]]:
    """What makes of the columns at these places what Python has of them."""
    fields = [find_field(model, name) for name in columns]
    return [(place, field.from_db_value) for place, field in enumerate(fields) if hasattr(field, "from_db_value")]


def insert_rows(rows: Sequence[models.Model], *, skip_existing: frozenset[type[models.Model]] = frozenset()) -> None:
    """Rows of several tables by one statement, so all or nothing without a BEGIN and a COMMIT; those of a table side
    by side. Nothing listens to them, and nobody asks which keys the database gives them.

    `skip_existing`: the models whose rows are left out where a constraint has them already.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    groups: list[tuple[type[models.Model], list[Any]]] = [
        (model, list(group)) for model, group in groupby(rows, key=type)
    ]
    if use_orm_fallback(connection) or len(rows) > MAX_ROWS_PER_INSERT:
        with transaction.atomic(savepoint=False):
            for model, group in groups:
                model._default_manager.bulk_create(group, ignore_conflicts=model in skip_existing)
        return
    counts = tuple((model, len(group)) for model, group in groups)
    sql = build_multi_insert(counts, skip_existing)
    params = []
    for model, group in groups:
        fields = list_insert_fields(model)
        params += [field.get_db_prep_save(field.pre_save(row, True), connection) for row in group for field in fields]
    execute(sql, params)
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


@cache
def build_multi_insert(
    counts: tuple[tuple[type[models.Model], int], ...], skip_existing: frozenset[type[models.Model]]
) -> str:
    statements = []
    for model, count in counts:
        fields = list_insert_fields(model)
        names, places = ", ".join(quote_column(model, field.name) for field in fields), ", ".join(["%s"] * len(fields))
        conflict_clause = " ON CONFLICT DO NOTHING" if model in skip_existing else ""
        rows = ", ".join([f"({places})"] * count)
        statements.append(f"INSERT INTO {model._meta.db_table} ({names}) VALUES {rows}{conflict_clause}")  # noqa: S608 - as above
    *parts, last = statements
    ctes = ", ".join(f"part{number} AS ({part})" for number, part in enumerate(parts))
    return f"WITH {ctes} {last}" if ctes else last


def compare_and_set(row: models.Model, values: Mapping[str, Any], **equal: Any) -> bool:
    """Set columns of `row` where its fields are equal to these, and make `row` what it is now; False where none was.

    Of a row whose columns are not all loaded the others stay as they are. Values and what they are compared with may be
    expressions of the database, and `equal` may look up what `filter` does (`lease_until__lt`): the ordinary way.
    """
    connection, model = connections[DEFAULT_DB_ALIAS], type(row)
    looks_up = any("__" in name for name in equal)
    computes = any(hasattr(operand, "resolve_expression") for operand in (*values.values(), *equal.values()))
    if use_orm_fallback(connection) or looks_up or computes:
        if not model._default_manager.filter(pk=row.pk, **equal).update(**values):
            return False
        row.refresh_from_db()
        return True
    loaded = tuple(field.attname for field in model._meta.concrete_fields if field.attname in row.__dict__)
    nulls = frozenset(name for name, value in equal.items() if value is None)
    sql, written, compared, converters = build_update(model, tuple(values), tuple(equal), nulls, loaded)
    params = [field.get_db_prep_save(value, connection) for field, value in zip(written, values.values(), strict=True)]
    params.append(row.pk)
    params += [field.get_db_prep_value(equal[name], connection) for name, field in compared]
    rows = fetch(sql, params)
    if not rows:
        return False
    columns = list(rows[0])
    for position, convert in converters:
        columns[position] = convert(columns[position], None, connection)
    for name, value in zip(loaded, columns, strict=True):
        setattr(row, name, value)  # of a foreign key that is another now this forgets the object
    return True


@cache
def build_update(
    model: type[models.Model],
    values: tuple[str, ...],
    equal: tuple[str, ...],
    nulls: frozenset[str],
    loaded: tuple[str, ...],
) -> tuple[str, list[Any], list[tuple[str, Any]], list[tuple[int, Any]]]:
    """The SQL, the fields that it sets, those that it compares with a value, and what reads its columns."""
    written: list[Any] = [model._meta.get_field(name) for name in values]
    sets = ", ".join(f"{quote_column(model, name)} = %s" for name in values)
    tests = [f"{quote_column(model, name)} {'IS NULL' if name in nulls else '= %s'}" for name in equal]
    where = " AND ".join([f"{quote_column(model, model._meta.pk.name)} = %s", *tests])
    returning = ", ".join(quote_column(model, name) for name in loaded)
    sql = f"UPDATE {model._meta.db_table} SET {sets} WHERE {where} RETURNING {returning}"  # noqa: S608 - as above
    return (
        sql,
        written,
        [(name, model._meta.get_field(name)) for name in equal if name not in nulls],
        get_column_converters(model, loaded),
    )


def insert_many(model: type[models.Model], columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Rows of these columns (of a foreign key `x_id`); PostgreSQL copies them in.

    Values are of their column's own type, times aware: nothing is converted as by `bulk_create`.
    """
    rows = iter(rows)
    head = next(rows, None)
    if head is None:
        return
    rows = chain([head], rows)
    connection = connections[DEFAULT_DB_ALIAS]
    names = ", ".join(quote_column(model, name) for name in columns)
    if use_orm_fallback(connection):
        places, stored = ", ".join(["%s"] * len(columns)), cache(connection.ops.adapt_datetimefield_value)
        sql = f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({places})"  # noqa: S608 - names of the code's own
        with connection.cursor() as cursor:
            cursor.executemany(sql, [[stored(at) if isinstance(at, datetime) else at for at in row] for row in rows])
        return
    connection.ensure_connection()
    # Binary: numbers and times need not be written as texts and read again, a fifth of the time in Python.
    sql, types = f"COPY {model._meta.db_table} ({names}) FROM STDIN (FORMAT BINARY)", get_column_types(model, columns)
    with connection.wrap_database_errors, connection.connection.cursor() as cursor, cursor.copy(sql) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


@cache
def get_column_types(model: type[models.Model], columns: tuple[str, ...]) -> list[str]:
    """The types of these columns, as PostgreSQL names them, without their lengths."""
    connection = connections[DEFAULT_DB_ALIAS]
    fields: list[Any] = [model._meta.get_field(name) for name in columns]
    return [field.db_type(connection).partition("(")[0] for field in fields]


@cache
def list_insert_fields(model: type[models.Model]) -> list[Any]:
    """The fields whose values an INSERT takes: not a key that the database gives."""
    key = model._meta.pk
    is_auto = isinstance(key, models.AutoField)
    return [field for field in model._meta.concrete_fields if not (is_auto and field is key)]


def quote_column(model: type[models.Model], name: str) -> str:
    column: Any = model._meta.get_field(name).column  # type: ignore[union-attr]
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(column)


def use_orm_fallback(connection: Any) -> bool:
    return connection.vendor != "postgresql" or connection.queries_logged or bool(connection.execute_wrappers)


def run_statement(sql: str, params: Sequence[Any], *, rows: bool) -> tuple[list[tuple[Any, ...]], int]:
    """Times among the parameters are aware ones."""
    connection = connections[DEFAULT_DB_ALIAS]  # once: the usual name looks this up at every use of it
    if use_orm_fallback(connection):
        stored = connection.ops.adapt_datetimefield_value
        with connection.cursor() as cursor:
            cursor.execute(sql, [stored(param) if isinstance(param, datetime) else param for param in params])
            return cursor.fetchall() if rows else [], cursor.rowcount
    from psycopg import Cursor

    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if rows else [], cursor.rowcount
