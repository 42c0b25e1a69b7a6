"""Convert a pandera schema, as `to_yaml` or `to_json` writes it, to expectations. Light: needs no pandera.

Only what expectations can express in full is converted; anything else is refused by name, never dropped silently.
Forms of checks: by name beside the fields of a column (since 0.30), in `checks` as a mapping, or there as a list.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.messages import Message

SchemaPart = Mapping[str, Any]
ExpectationFields = dict[str, Any]

INTEGER, FLOAT = re.compile(r"u?int\d{0,2}", re.IGNORECASE), re.compile(r"(float\d{0,3}|double)", re.IGNORECASE)
TEXT, DATE = (
    re.compile(r"(str|string|large_string)(\[[^\[\]]*\])?"),
    re.compile(r"(datetime64(\[[^\[\]]*\])?|date|timestamp\[[^\[\]]*\])"),
)
FLAG = re.compile(r"(bool|boolean)", re.IGNORECASE)
DECIMAL = re.compile(r"decimal(\(.*\)|128.*)?", re.IGNORECASE)
DAY = re.compile(r"(\d{4}-\d\d-\d\d)([T ]00:00(:00(\.0+)?)?)?")
DTYPES = "int64, float64, decimal, str, bool, datetime64[ns] and their like, or none"

NEUTRAL_FIELDS = {"title", "description", "name", "metadata", "report_duplicates", "coerce"}
"""Of a column and of the whole: they demand nothing of a table as it stands."""
COLUMN_FIELDS = NEUTRAL_FIELDS | {
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
FRAME_FIELDS = NEUTRAL_FIELDS | {
    "schema_type", "version", "api", "dataframe_library", "columns", "checks", "index", "multiindex", "dtype", "strict",
    "ordered", "unique", "unique_column_names", "add_missing_columns", "drop_invalid_rows",
}  # fmt: skip
CHECK_OPTIONS = {"check_name", "name", "title", "description", "error", "raise_warning", "ignore_na", "n_failure_cases"}
CHECK_ARGUMENTS = {
    "value", "min_value", "max_value", "include_min", "include_max", "exact_value",
    "allowed_values", "pattern", "string",
}  # fmt: skip
"""What a check says, beside its options."""
UNSUPPORTED_FIELDS: dict[str, str] = {
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


MAX_FAULTS = 100  # that one answer names
FLAGS = re.compile(r"\(\?[aiLmsux]+\)")


@dataclass(frozen=True)
class SchemaFault:
    """One unsupported part of a schema: JSON pointer, message, what is supported, remedy."""

    field: str
    message: str
    limit: str
    hint: str


class UnsupportedSchemaError(ValueError):
    """Every fault of a schema, in its order."""

    def __init__(self, faults: list[SchemaFault]) -> None:
        super().__init__(faults[0].message)
        self.faults = faults


class _UnsupportedCheckError(Exception):
    """Why one check cannot be said: the end of a sentence."""


def convert_pandera_schema(schema: Any) -> list[ExpectationFields]:
    """The expectations that say what the schema does, as objects for `Expectations`. Raises NotTaken."""
    reader = _SchemaReader()
    expectations = reader.read_frame(schema)
    if reader.faults:
        raise UnsupportedSchemaError(reader.faults)
    return expectations


class _SchemaReader:
    def __init__(self) -> None:
        self.faults: list[SchemaFault] = []
        self.coerce = False  # of every column

    def add_fault(self, field: str, message: str, limit: str, hint: str = "Take it out of the schema.") -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(SchemaFault(field, message, limit, hint))

    def read_frame(self, schema: Any) -> list[ExpectationFields]:
        if not isinstance(schema, Mapping) or not isinstance(schema.get("columns"), Mapping):
            self.add_fault(
                "" if not isinstance(schema, Mapping) else "/columns",
                Message("This is no schema of a table: it has no columns by name."),
                "what pandera's to_yaml() or to_json() writes of a DataFrameSchema",
                Message("Send schema.to_yaml(), with column names that are texts."),
            )
            return []
        kind = schema.get("schema_type", "dataframe")
        if kind != "dataframe":
            self.add_fault(
                "/schema_type", Message("The schema is of the type {kind!r}.", kind=str(kind)[:40]), "dataframe"
            )
        self.refuse_unsupported(schema, "")
        self.coerce = bool(schema.get("coerce"))
        if schema.get("dtype") is not None:
            self.add_fault("/dtype", Message("One type for all columns cannot be expected."), "a dtype of each column")
        for name, _stats, pointer in self.iter_checks(schema, FRAME_FIELDS, ""):
            self.add_unknown_check(name, pointer, "of the whole table")
        expectations: list[ExpectationFields] = []
        for name, column in schema["columns"].items():
            expectations += self.read_column(name, column, f"/columns/{escape_pointer(name)}")
        return expectations + self.read_unique(schema)

    def read_unique(self, schema: SchemaPart) -> list[ExpectationFields]:
        names = schema.get("unique")
        if not names:
            return []
        if isinstance(names, str):
            names = [names]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.add_fault(
                "/unique", Message("The columns that are unique together are not a list of names."), "a list of names"
            )
            return []
        return [{"kind": "unique", "columns": list(names)}]

    def read_column(self, name: Any, column: Any, at: str) -> list[ExpectationFields]:
        if not isinstance(name, str) or not isinstance(column, Mapping):
            self.add_fault(
                at,
                Message("A column is a name that is a text, with an object."),
                "a name, and what the column must hold",
            )
            return []
        self.refuse_unsupported(column, at)
        if column.get("required") is False:
            self.add_fault(
                f"{at}/required",
                Message("The column {name!r} may be absent: what is expected must be there.", name=name),
                "true",
                Message("Leave the column out, or require it."),
            )
        dtype = self.read_dtype(column, name, at)
        expectations: list[ExpectationFields] = [
            {"kind": "column", "column": name} | ({"dtype": dtype} if dtype else {})
        ]
        if column.get("nullable", False) is False:
            expectations.append({"kind": "not_null", "column": name})
        if column.get("unique"):
            expectations.append({"kind": "unique", "columns": [name]})
        for check, stats, pointer in self.iter_checks(column, COLUMN_FIELDS, at):
            expectations += self.read_check(check, stats, pointer, name, dtype)
        return expectations

    def read_dtype(self, column: SchemaPart, name: str, at: str) -> str:
        """What the expectations call the type; "" for any. A column that pandera would convert may be any number."""
        dtype = column.get("dtype")
        if dtype is None or dtype == "object":
            return ""
        text = str(dtype)
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
        self.add_fault(
            f"{at}/dtype",
            Message("The type {text!r} of the column {name!r} cannot be expected.", text=text[:60], name=name),
            DTYPES,
        )
        return ""

    # -- checks -------------------------------------------------------------------------------------------------------
    def iter_checks(self, of: SchemaPart, fields: set[str], at: str) -> Iterator[tuple[str, Any, str]]:
        """(name, what it says, pointer) of every check, in whichever form it stands."""
        for key, stats in of.items():
            if key not in fields:
                yield str(key), stats, f"{at}/{escape_pointer(key)}"
        checks = of.get("checks")
        if isinstance(checks, Mapping):
            yield from ((str(key), stats, f"{at}/checks/{escape_pointer(key)}") for key, stats in checks.items())
        elif isinstance(checks, list):
            for place, stats in enumerate(checks):
                options = stats.get("options") if isinstance(stats, Mapping) else None
                name = options.get("check_name") if isinstance(options, Mapping) else None
                yield str(name), stats, f"{at}/checks/{place}"
        elif checks is not None:
            self.add_fault(
                f"{at}/checks", Message("The checks are neither a list nor an object."), "a list, an object, or none"
            )

    def read_check(self, name: str, stats: Any, at: str, column: str, dtype: str) -> list[ExpectationFields]:
        if name not in CHECKS:
            self.add_unknown_check(name, at, f"of the column {column!r}")
            return []
        stats = dict(stats) if isinstance(stats, Mapping) else {"value": stats}
        try:
            options = dict(stats.pop("options", None) or {})  # apart, or beside what the check says
            options |= {key: stats.pop(key) for key in list(stats) if key not in CHECK_ARGUMENTS}
            return [{"column": column, **CHECKS[name](stats, dtype), **read_check_options(options)}]
        except _UnsupportedCheckError as unfit:
            self.add_fault(
                at,
                Message("The check {name} of the column {column!r} {unfit}.", name=name, column=column, unfit=unfit),
                "what an expectation can say",
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            self.add_fault(
                at,
                Message("The check {name} of the column {column!r} cannot be read.", name=name, column=column),
                "what pandera writes of it",
            )
        return []

    def add_unknown_check(self, name: str, at: str, of: str) -> None:
        self.add_fault(
            at,
            Message("The check {name} {of} is not known here.", name=name[:60], of=of),
            ", ".join(CHECKS),
            Message("Take it out of the schema, or say it by an expectation of the plane: docs/quality.md."),
        )

    def refuse_unsupported(self, of: SchemaPart, at: str) -> None:
        for key, what in UNSUPPORTED_FIELDS.items():
            value = of.get(key)
            if not (value is None or value is False or value in ([], {})):  # a default of 0 is one
                self.add_fault(
                    f"{at}/{key}",
                    Message("Expectations cannot say {key}: {what}.", key=key, what=what),
                    "null or false",
                )


# -- what each check says -------------------------------------------------------------------------------------------
def read_check_options(options: SchemaPart) -> ExpectationFields:
    """Severity and note of the options of a check."""
    more = sorted(str(key) for key, value in options.items() if key not in CHECK_OPTIONS and value is not None)
    if more:
        raise _UnsupportedCheckError(f"has options that are not known here: {', '.join(more)[:100]}")
    if options.get("ignore_na") is False:
        raise _UnsupportedCheckError("holds of missing values too (ignore_na: false): say nullable: false")
    note = options.get("description") or options.get("title") or options.get("error") or ""
    fields: ExpectationFields = {"severity": "warning"} if options.get("raise_warning") else {}
    return fields | ({"note": str(note)[:200]} if note else {})


def read_minimum(stats: SchemaPart, dtype: str, *, above: bool = False) -> ExpectationFields:
    return build_range(get_argument(stats, "min_value"), None, dtype, above=above)


def read_maximum(stats: SchemaPart, dtype: str, *, below: bool = False) -> ExpectationFields:
    return build_range(None, get_argument(stats, "max_value"), dtype, below=below)


def read_in_range(stats: SchemaPart, dtype: str) -> ExpectationFields:
    above, below = stats.get("include_min", True) is False, stats.get("include_max", True) is False
    return build_range(stats["min_value"], stats["max_value"], dtype, above=above, below=below)


def build_range(low: Any, high: Any, dtype: str, *, above: bool = False, below: bool = False) -> ExpectationFields:
    """Limits that belong to the range; of whole numbers those beside it as well (`above`, `below`)."""
    if dtype == "date" or isinstance(low, str) or isinstance(high, str) or is_date(low) or is_date(high):
        if above or below:
            raise _UnsupportedCheckError("leaves a limit out: limits of days belong to the range")
        return {"kind": "date_range", "earliest": format_day(low), "latest": format_day(high)}
    if above or below:
        if dtype != "integer" or not all(end is None or (is_whole_number(end)) for end in (low, high)):
            raise _UnsupportedCheckError("leaves a limit out: limits belong to the range, but of whole numbers")
        low, high = (low + 1 if above else low), (high - 1 if below else high)
    return {"kind": "range", "minimum": require_number(low), "maximum": require_number(high)}


def read_isin(stats: SchemaPart, _dtype: str) -> ExpectationFields:
    values = get_argument(stats, "allowed_values")
    if not isinstance(values, list) or not all(isinstance(value, str | int | float | bool) for value in values):
        raise _UnsupportedCheckError("names values that are neither texts nor numbers nor flags")
    return {"kind": "one_of", "values": list(values)}


def read_equal_to(stats: SchemaPart, dtype: str) -> ExpectationFields:
    return read_isin({"value": [get_argument(stats, "value")]}, dtype)


def read_str_matches(stats: SchemaPart, _dtype: str) -> ExpectationFields:
    """pandera matches from the beginning of a text, as re.match."""
    pattern = require_text(get_argument(stats, "pattern"))
    if flags := FLAGS.match(pattern):  # they stand before everything else, or nowhere
        return {"kind": "matches", "pattern": f"{flags[0]}^(?:{pattern[flags.end() :]})"}
    bound = pattern.startswith("^") and "|" not in pattern
    return {"kind": "matches", "pattern": pattern if bound else f"^(?:{pattern})"}


def read_str_contains(stats: SchemaPart, _dtype: str) -> ExpectationFields:
    return {"kind": "matches", "pattern": require_text(get_argument(stats, "pattern"))}


def read_str_startswith(stats: SchemaPart, _dtype: str) -> ExpectationFields:
    return {"kind": "matches", "pattern": "^" + re.escape(require_text(get_argument(stats, "string")))}


def read_str_endswith(stats: SchemaPart, _dtype: str) -> ExpectationFields:
    return {"kind": "matches", "pattern": re.escape(require_text(get_argument(stats, "string"))) + "$"}


def read_str_length(stats: SchemaPart, _dtype: str) -> ExpectationFields:
    exact = stats.get("value", stats.get("exact_value"))
    low, high = (exact, exact) if exact is not None else (stats.get("min_value"), stats.get("max_value"))
    return {"kind": "length", "minimum": require_number(low), "maximum": require_number(high)}


CHECKS: dict[str, Callable[[SchemaPart, str], ExpectationFields]] = {
    "greater_than_or_equal_to": read_minimum,
    "less_than_or_equal_to": read_maximum,
    "greater_than": lambda stats, dtype: read_minimum(stats, dtype, above=True),
    "less_than": lambda stats, dtype: read_maximum(stats, dtype, below=True),
    "in_range": read_in_range,
    "equal_to": read_equal_to,
    "isin": read_isin,
    "str_matches": read_str_matches,
    "str_contains": read_str_contains,
    "str_startswith": read_str_startswith,
    "str_endswith": read_str_endswith,
    "str_length": read_str_length,
}
"""The checks that are taken, by pandera's names."""


# -- values ---------------------------------------------------------------------------------------------------------
def get_argument(stats: SchemaPart, name: str) -> Any:
    """What a check of one argument says: by the argument's name, or as the value alone."""
    return stats[name] if name in stats else stats["value"]


def require_number(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError("no number")


def is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_date(value: Any) -> bool:
    return hasattr(value, "isoformat")


def format_day(value: Any) -> str | None:
    """A day as text; YAML may have read it as a date."""
    if value is None:
        return None
    match = DAY.fullmatch(value.isoformat() if is_date(value) else str(value))
    if match is None:
        raise _UnsupportedCheckError(f"has the limit {str(value)[:40]!r}: a whole day is needed, such as 2020-01-31")
    return match[1]


def require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def escape_pointer(key: Any) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return str(key)[:200].replace("~", "~0").replace("/", "~1")
