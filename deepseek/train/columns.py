"""Columns of a table as numbers: which may be learned from, and what is wrong with those that may not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.tables.files import build_unknown_column_error
from deepseek.train.spec import MOST_CLASSES, TrainSpec

MOST_CATEGORIES = 1000
Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """The class or category of each row, as a place in `names`; -1 where it is missing."""

    codes: npt.NDArray[np.int64]
    names: list[str]


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers; true and false count as 1 and 0."""
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def choose_features(table: pa.Table, spec: TrainSpec) -> tuple[list[str], list[str], list[str]]:
    """The columns of numbers and those of categories to predict from, and warnings about those that were passed over.

    Raises EngineError ``unknown_column``, ``column_not_numeric``, ``column_all_missing``, ``no_numeric_features``.
    """
    categories = list(spec.categories or [])
    for position, name in enumerate(categories):
        _require_column(table, name, f"/categories/{position}")
    if spec.features is not None:
        numbers, words = [], []
        for position, name in enumerate(spec.features):
            if name in categories:
                continue
            _require_column(table, name, f"/features/{position}")
            if is_text(table.column(name).type):
                words.append(name)
            else:
                _require_number(table, name, f"/features/{position}")
                numbers.append(name)
        return numbers, words + categories, []
    chosen, passed = [], []
    for name in table.column_names:
        column = table.column(name)
        if name == spec.target or name in categories:
            continue
        if is_number(column.type) and column.null_count < len(column):
            chosen.append(name)
        else:
            passed.append(name)
    if not chosen and not categories:
        raise EngineError(
            "no_numeric_features",
            "Beside the target {target!r} the table has no numeric column to predict from.",
            target=spec.target,
            field="/features",
            value=", ".join(passed[:20]) or "none",
            limit="at least one column of numbers",
            hint=N_("Name the text columns to learn from as category columns, or choose the task forecast."),
        )
    warnings = [f"Not learned from, being no numbers or empty: {_format_names(passed)}."] if passed else []
    if any(is_text(table.column(name).type) for name in passed):
        warnings.append("Text is learned from where its column is named as a category column.")
    return chosen, categories, warnings


def read_number(table: pa.Table, name: str, field: str) -> Singles:
    """The column as float32, NaN where it is missing or infinite. Raises EngineError ``value_too_large``."""
    wide = to_numbers(table.column(name))
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    beyond = np.flatnonzero(np.isinf(narrow) & np.isfinite(wide))
    if beyond.size:
        raise EngineError(
            "value_too_large",
            "The column {name!r} holds values beyond what a model can take, the first in data row {beyond}.",
            name=name,
            beyond=beyond[0] + 1,
            field=field,
            value=f"{wide[beyond[0]]:g}",
            limit="-3.4e38 to 3.4e38",
            hint=N_("Divide the column by a large number, or take its logarithm."),
        )
    narrow[~np.isfinite(wide)] = np.nan
    return narrow


def read_target(table: pa.Table, spec: TrainSpec) -> Singles:
    """The target of a regression or forecast. Raises as `read_number` and `choose_features` do."""
    _require_number(table, spec.target, "/target")
    return read_number(table, spec.target, "/target")


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text, as it is or by its place in a dictionary."""
    types = pa.types
    value_type = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(value_type) or types.is_large_string(value_type))


def read_categories(table: pa.Table, name: str, field: str) -> Labels:
    """The category of each row of a column of text, true and false, or whole numbers; missing ones are allowed.

    Raises EngineError ``column_not_categories``, ``too_many_categories``.
    """
    column = table.column(name).combine_chunks()
    labels = _read_values(column, lambda why, value: _build_categories_error(name, field, why, value), MOST_CATEGORIES)
    if isinstance(labels, int):
        raise EngineError(
            "too_many_categories",
            "The category column {name!r} has {count:,} different values.",
            name=name,
            count=labels,
            field=field,
            value=str(labels),
            limit=f"{MOST_CATEGORIES} categories",
            hint=N_("Leave it out if it identifies rows; else join rare values to one, or use it as a number."),
        )
    return labels


def read_labels(table: pa.Table, spec: TrainSpec) -> Labels:
    """The classes of the target column: text, true and false, or whole numbers, in their order.

    Raises EngineError ``unknown_column``, ``target_not_classes``, ``too_many_classes``.
    """
    _require_column(table, spec.target, "/target")
    column = table.column(spec.target).combine_chunks()
    labels = _read_values(column, lambda why, value: _build_classes_error(spec.target, why, value), MOST_CLASSES)
    if isinstance(labels, int):
        raise EngineError(
            "too_many_classes",
            "The target {target!r} has {count:,} different values.",
            target=spec.target,
            count=labels,
            field="/target",
            value=str(labels),
            limit=f"{MOST_CLASSES} classes",
            hint=N_("If it is a quantity, choose the task regression; if an identifier, another target."),
        )
    return labels


def to_numbers(column: pa.ChunkedArray) -> Doubles:
    """A column of a type that `is_number` allows as float64, NaN where it is missing."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values: Doubles = column.cast(pa.float64(), safe=False).to_numpy()
    return values


Refusal = Callable[[str, str], EngineError]
"""What is raised for values that are no classes or categories, of (why, an example)."""


def _read_values(column: pa.Array, refuse: Refusal, most: int) -> Labels | int:
    """The values of a column in their order, each as text, and which of them each row has; their number if over `most`.

    Raises what `refuse` builds for values that are no text, no true and false and no whole numbers.
    """
    if column.null_count == len(column):
        return Labels(np.full(len(column), -1, np.int64), [])
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        column = _cast_to_integers(column, refuse)
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_boolean(kind) or is_text(kind)):
        raise refuse(f"its type is {kind}", str(kind))
    values = pc.unique(column.drop_null())
    if len(values) > most:
        return len(values)
    ordered = sorted(values.to_pylist())
    codes = pc.index_in(column, value_set=pa.array(ordered, type=kind)).fill_null(-1)
    return Labels(codes.to_numpy(zero_copy_only=False).astype(np.int64), [_label(value) for value in ordered])


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cast_to_integers(column: pa.Array, refuse: Refusal) -> pa.Array:
    """Floats or decimals as the whole numbers that they are; none is rounded, or two classes could become one."""
    exact = pa.types.is_decimal(column.type)
    column = column if exact else column.cast(pa.float64())
    if not exact and pc.any(pc.is_inf(column)).as_py():
        raise refuse("it holds an infinite number", "inf")
    fractions = pc.filter(column, pc.fill_null(pc.not_equal(column, pc.floor(column)), False))
    if len(fractions):
        raise refuse(f"it holds fractions, such as {fractions[0].as_py():g}", f"{fractions[0].as_py():g}")
    largest = max(map(abs, pc.min_max(column).as_py().values()))
    if largest >= (2**63 if exact else 2**53):  # a float beyond it stands for several whole numbers
        raise refuse(f"it holds a number as large as {largest:g}", f"{largest:g}")
    return column.cast(pa.int64())


def _build_categories_error(name: str, field: str, why: str, value: str) -> EngineError:
    return EngineError(
        "column_not_categories",
        "The column {name!r} does not hold categories: {why}.",
        name=name,
        why=why,
        field=field,
        value=value,
        limit="text, true and false, or whole numbers",
        hint=N_("Use the column as a number, or leave it out."),
    )


def _build_classes_error(name: str, why: str, value: str) -> EngineError:
    return EngineError(
        "target_not_classes",
        "The target {name!r} does not name classes: {why}.",
        name=name,
        why=why,
        field="/target",
        value=value,
        limit="text, true and false, or whole numbers",
        hint=N_("Choose the task regression for a quantity, or turn the column into classes first."),
    )


def _require_column(table: pa.Table, name: str, field: str) -> None:
    if name not in table.column_names:
        raise build_unknown_column_error(table.column_names, name, field)
    column = table.column(name)
    if column.null_count == len(column):
        raise EngineError(
            "column_all_missing",
            "The column {name!r} has no value at all.",
            name=name,
            field=field,
            value=name,
            limit="at least one present value",
            hint=N_("Leave the column out, or check the export that made the table."),
        )


def _require_number(table: pa.Table, name: str, field: str) -> None:
    _require_column(table, name, field)
    column = table.column(name)
    if is_number(column.type):
        return
    if field == "/target":
        hint = Message("Choose the task classification for classes, or another target.")
    else:
        hint = Message("Leave the column out, or turn it into numbers first, such as one column of 0 and 1 per value.")
    example = next(value for value in column.to_pylist() if value is not None)
    raise EngineError(
        "column_not_numeric",
        "The column {name!r} is not numeric: its type is {column_type}, and it holds {example!r}.",
        name=name,
        column_type=column.type,
        example=str(example)[:50],
        field=field,
        value=name,
        limit="a column of numbers",
        hint=hint,
    )


def _format_names(names: Sequence[str]) -> str:
    text = ", ".join(repr(name) for name in names[:20])
    return text if len(names) <= 20 else f"{text} and {len(names) - 20} more"
