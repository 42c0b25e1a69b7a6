"""A pandera schema, as its `to_yaml` and `to_json` write it, as expectations. Light to import: pandera is not needed.

Taken is what expectations can say whole; whatever else the schema demands is refused by name, never left out silently.
Forms of checks: by name beside the fields of a column (since 0.30), in `checks` as a mapping, or there as a list.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.messages import Message

Given = Mapping[str, Any]
Made = dict[str, Any]

INTEGER, FLOAT = re.compile(r"u?int\d{0,2}", re.IGNORECASE), re.compile(r"(float\d{0,3}|double)", re.IGNORECASE)
TEXT, DATE = (
    re.compile(r"(str|string|large_string)(\[[^\[\]]*\])?"),
    re.compile(r"(datetime64(\[[^\[\]]*\])?|date|timestamp\[[^\[\]]*\])"),
)
FLAG = re.compile(r"(bool|boolean)", re.IGNORECASE)
DECIMAL = re.compile(r"decimal(\(.*\)|128.*)?", re.IGNORECASE)
DAY = re.compile(r"(\d{4}-\d\d-\d\d)([T ]00:00(:00(\.0+)?)?)?")
DTYPES = "int64, float64, decimal, str, bool, datetime64[ns] and their like, or none"

PLAIN = {"title", "description", "name", "metadata", "report_duplicates", "coerce"}
"""Of a column and of the whole: they demand nothing of a table as it stands."""
OF_COLUMN = PLAIN | {
    "dtype",
    "nullable",
    "checks",
    "unique",
    "required",
    "regex",
    "default",
    "drop_invalid_rows",
    "parsers",
}
OF_FRAME = PLAIN | {
    "schema_type", "version", "api", "dataframe_library", "columns", "checks", "index", "multiindex", "dtype", "strict",
    "ordered", "unique", "unique_column_names", "add_missing_columns", "drop_invalid_rows",
}  # fmt: skip
OPTIONS = {"check_name", "name", "title", "description", "error", "raise_warning", "ignore_na", "n_failure_cases"}
SAID = {
    "value", "min_value", "max_value", "include_min", "include_max", "exact_value",
    "allowed_values", "pattern", "string",
}  # fmt: skip
"""What a check says, beside its options."""
NEVER: dict[str, str] = {
    "regex": "a pattern in place of a column's name",
    "default": "filling values in",
    "parsers": "changing values",
    "drop_invalid_rows": "dropping rows",
    "add_missing_columns": "adding columns",
    "index": "an index: a table has none",
    "multiindex": "an index: a table has none",
    "strict": "that there be no other columns",
    "ordered": "an order of the columns",
}


FAULTS = 100  # that one answer names
FLAGS = re.compile(r"\(\?[aiLmsux]+\)")


@dataclass(frozen=True)
class Fault:
    """What cannot be taken: a JSON pointer into the schema, a sentence, what would be, and the way out."""

    field: str
    message: str
    limit: str
    hint: str


class NotTaken(ValueError):
    """Every fault of a schema, in its order."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults[0].message)
        self.faults = faults


class _Unfit(Exception):
    """Why one check cannot be said: the end of a sentence."""


def expectations_from(schema: Any) -> list[Made]:
    """The expectations that say what the schema does, as objects for `Expectations`. Raises NotTaken."""
    reader = _Reader()
    made = reader.frame(schema)
    if reader.faults:
        raise NotTaken(reader.faults)
    return made


class _Reader:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.coerce = False  # of every column

    def fault(self, field: str, message: str, limit: str, hint: str = "Take it out of the schema.") -> None:
        if len(self.faults) < FAULTS:
            self.faults.append(Fault(field, message, limit, hint))

    def frame(self, schema: Any) -> list[Made]:
        if not isinstance(schema, Mapping) or not isinstance(schema.get("columns"), Mapping):
            self.fault(
                "" if not isinstance(schema, Mapping) else "/columns",
                Message("This is no schema of a table: it has no columns by name."),
                "what pandera's to_yaml() or to_json() writes of a DataFrameSchema",
                Message("Send schema.to_yaml(), with column names that are texts."),
            )
            return []
        kind = schema.get("schema_type", "dataframe")
        if kind != "dataframe":
            self.fault("/schema_type", Message("The schema is of the type {kind!r}.", kind=str(kind)[:40]), "dataframe")
        self.refuse_never(schema, "")
        self.coerce = bool(schema.get("coerce"))
        if schema.get("dtype") is not None:
            self.fault("/dtype", Message("One type for all columns cannot be expected."), "a dtype of each column")
        for name, _stats, pointer in self.checks(schema, OF_FRAME, ""):
            self.unknown(name, pointer, "of the whole table")
        made: list[Made] = []
        for name, column in schema["columns"].items():
            made += self.column(name, column, f"/columns/{pointed(name)}")
        return made + self.unique_of(schema)

    def unique_of(self, schema: Given) -> list[Made]:
        names = schema.get("unique")
        if not names:
            return []
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fault(
                "/unique", Message("The columns that are unique together are not a list of names."), "a list of names"
            )
            return []
        return [{"kind": "unique", "columns": list(names)}]

    def column(self, name: Any, column: Any, at: str) -> list[Made]:
        if not isinstance(name, str) or not isinstance(column, Mapping):
            self.fault(
                at,
                Message("A column is a name that is a text, with an object."),
                "a name, and what the column must hold",
            )
            return []
        self.refuse_never(column, at)
        if column.get("required") is False:
            self.fault(
                f"{at}/required",
                Message("The column {name!r} may be absent: what is expected must be there.", name=name),
                "true",
                Message("Leave the column out, or require it."),
            )
        dtype = self.dtype(column, name, at)
        made: list[Made] = [{"kind": "column", "column": name} | ({"dtype": dtype} if dtype else {})]
        if column.get("nullable", False) is False:
            made.append({"kind": "not_null", "column": name})
        if column.get("unique"):
            made.append({"kind": "unique", "columns": [name]})
        for check, stats, pointer in self.checks(column, OF_COLUMN, at):
            made += self.check(check, stats, pointer, name, dtype)
        return made

    def dtype(self, column: Given, name: str, at: str) -> str:
        """What the expectations call the type; "" for any. A column that pandera would convert may be any number."""
        told = column.get("dtype")
        if told is None or told == "object":
            return ""
        text = str(told)
        for pattern, word in (
            (INTEGER, "integer"),
            (TEXT, "text"),
            (DATE, "date"),
            (FLAG, "flag"),
            (DECIMAL, "number"),
        ):
            if pattern.fullmatch(text):
                return word
        if FLOAT.fullmatch(text):
            return "number" if column.get("coerce") or self.coerce else "float"
        self.fault(
            f"{at}/dtype",
            Message("The type {text!r} of the column {name!r} cannot be expected.", text=text[:60], name=name),
            DTYPES,
        )
        return ""

    # -- checks -------------------------------------------------------------------------------------------------------
    def checks(self, of: Given, fields: set[str], at: str) -> Iterator[tuple[str, Any, str]]:
        """(name, what it says, pointer) of every check, in whichever form it stands."""
        for key, stats in of.items():
            if key not in fields:
                yield str(key), stats, f"{at}/{pointed(key)}"
        told = of.get("checks")
        if isinstance(told, Mapping):
            yield from ((str(key), stats, f"{at}/checks/{pointed(key)}") for key, stats in told.items())
        elif isinstance(told, list):
            for place, stats in enumerate(told):
                options = stats.get("options") if isinstance(stats, Mapping) else None
                name = options.get("check_name") if isinstance(options, Mapping) else None
                yield str(name), stats, f"{at}/checks/{place}"
        elif told is not None:
            self.fault(
                f"{at}/checks", Message("The checks are neither a list nor an object."), "a list, an object, or none"
            )

    def check(self, name: str, stats: Any, at: str, column: str, dtype: str) -> list[Made]:
        if name not in CHECKS:
            self.unknown(name, at, f"of the column {column!r}")
            return []
        stats = dict(stats) if isinstance(stats, Mapping) else {"value": stats}
        try:
            options = dict(stats.pop("options", None) or {})  # apart, or beside what the check says
            options |= {key: stats.pop(key) for key in list(stats) if key not in SAID}
            return [{"column": column, **CHECKS[name](stats, dtype), **optional(options)}]
        except _Unfit as unfit:
            self.fault(
                at,
                Message("The check {name} of the column {column!r} {unfit}.", name=name, column=column, unfit=unfit),
                "what an expectation can say",
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            self.fault(
                at,
                Message("The check {name} of the column {column!r} cannot be read.", name=name, column=column),
                "what pandera writes of it",
            )
        return []

    def unknown(self, name: str, at: str, of: str) -> None:
        self.fault(
            at,
            Message("The check {name} {of} is not known here.", name=name[:60], of=of),
            ", ".join(CHECKS),
            Message("Take it out of the schema, or say it by an expectation of the plane: docs/quality.md."),
        )

    def refuse_never(self, of: Given, at: str) -> None:
        for key, what in NEVER.items():
            said = of.get(key)
            if not (said is None or said is False or said in ([], {})):  # a default of 0 is one
                self.fault(
                    f"{at}/{key}",
                    Message("Expectations cannot say {key}: {what}.", key=key, what=what),
                    "null or false",
                )


# -- what each check says -------------------------------------------------------------------------------------------
def optional(options: Given) -> Made:
    """Severity and note of the options of a check."""
    more = sorted(str(key) for key, value in options.items() if key not in OPTIONS and value is not None)
    if more:
        raise _Unfit(f"has options that are not known here: {', '.join(more)[:100]}")
    if options.get("ignore_na") is False:
        raise _Unfit("holds of missing values too (ignore_na: false): say nullable: false")
    note = options.get("description") or options.get("title") or options.get("error") or ""
    made: Made = {"severity": "warning"} if options.get("raise_warning") else {}
    return made | ({"note": str(note)[:200]} if note else {})


def least(stats: Given, dtype: str, *, above: bool = False) -> Made:
    return bounds(only(stats, "min_value"), None, dtype, above=above)


def most(stats: Given, dtype: str, *, below: bool = False) -> Made:
    return bounds(None, only(stats, "max_value"), dtype, below=below)


def within(stats: Given, dtype: str) -> Made:
    above, below = stats.get("include_min", True) is False, stats.get("include_max", True) is False
    return bounds(stats["min_value"], stats["max_value"], dtype, above=above, below=below)


def bounds(low: Any, high: Any, dtype: str, *, above: bool = False, below: bool = False) -> Made:
    """Limits that belong to the range; of whole numbers those beside it as well (`above`, `below`)."""
    if dtype == "date" or isinstance(low, str) or isinstance(high, str) or is_date(low) or is_date(high):
        if above or below:
            raise _Unfit("leaves a limit out: limits of days belong to the range")
        return {"kind": "date_range", "earliest": day(low), "latest": day(high)}
    if above or below:
        if dtype != "integer" or not all(end is None or (whole(end)) for end in (low, high)):
            raise _Unfit("leaves a limit out: limits belong to the range, but of whole numbers")
        low, high = (low + 1 if above else low), (high - 1 if below else high)
    return {"kind": "range", "minimum": number(low), "maximum": number(high)}


def one_of(stats: Given, _dtype: str) -> Made:
    values = only(stats, "allowed_values")
    if not isinstance(values, list) or not all(isinstance(value, str | int | float | bool) for value in values):
        raise _Unfit("names values that are neither texts nor numbers nor flags")
    return {"kind": "one_of", "values": list(values)}


def equal(stats: Given, dtype: str) -> Made:
    return one_of({"value": [only(stats, "value")]}, dtype)


def matches(stats: Given, _dtype: str) -> Made:
    """pandera matches from the beginning of a text, as re.match."""
    pattern = text_of(only(stats, "pattern"))
    if flags := FLAGS.match(pattern):  # they stand before everything else, or nowhere
        return {"kind": "matches", "pattern": f"{flags[0]}^(?:{pattern[flags.end() :]})"}
    bound = pattern.startswith("^") and "|" not in pattern
    return {"kind": "matches", "pattern": pattern if bound else f"^(?:{pattern})"}


def contains(stats: Given, _dtype: str) -> Made:
    return {"kind": "matches", "pattern": text_of(only(stats, "pattern"))}


def begins(stats: Given, _dtype: str) -> Made:
    return {"kind": "matches", "pattern": "^" + re.escape(text_of(only(stats, "string")))}


def ends(stats: Given, _dtype: str) -> Made:
    return {"kind": "matches", "pattern": re.escape(text_of(only(stats, "string"))) + "$"}


def length(stats: Given, _dtype: str) -> Made:
    exact = stats.get("value", stats.get("exact_value"))
    low, high = (exact, exact) if exact is not None else (stats.get("min_value"), stats.get("max_value"))
    return {"kind": "length", "minimum": number(low), "maximum": number(high)}


CHECKS: dict[str, Callable[[Given, str], Made]] = {
    "greater_than_or_equal_to": least,
    "less_than_or_equal_to": most,
    "greater_than": lambda stats, dtype: least(stats, dtype, above=True),
    "less_than": lambda stats, dtype: most(stats, dtype, below=True),
    "in_range": within,
    "equal_to": equal,
    "isin": one_of,
    "str_matches": matches,
    "str_contains": contains,
    "str_startswith": begins,
    "str_endswith": ends,
    "str_length": length,
}
"""The checks that are taken, by pandera's names."""


# -- values ---------------------------------------------------------------------------------------------------------
def only(stats: Given, name: str) -> Any:
    """What a check of one argument says: by the argument's name, or as the value alone."""
    return stats[name] if name in stats else stats["value"]


def number(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError("no number")


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_date(value: Any) -> bool:
    return hasattr(value, "isoformat")


def day(value: Any) -> str | None:
    """A day as text; YAML may have read it as a date."""
    if value is None:
        return None
    found = DAY.fullmatch(value.isoformat() if is_date(value) else str(value))
    if found is None:
        raise _Unfit(f"has the limit {str(value)[:40]!r}: a whole day is needed, such as 2020-01-31")
    return found[1]


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def pointed(key: Any) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return str(key)[:200].replace("~", "~0").replace("/", "~1")
