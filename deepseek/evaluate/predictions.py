"""A table of predictions that were made elsewhere, read as what a model would have said. Nothing is unpickled.

Its columns: `prediction`, a class or a number (of a ranking the score); of classes perhaps `p_<class>`, a probability
for each class; perhaps `row`, which row of the measured table it is of, counted from 1. Without `row` there is one for
each row of that table, in its order. Others are passed over.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.evaluate.examples import MOST_LEFT_OUT
from deepseek.evaluate.measures import Outputs, Target
from deepseek.evaluate.spec import SHARE
from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.tables.csv_dtypes import DEFAULT_MISSING
from deepseek.tables.files import build_unknown_column_error, read_as_is
from deepseek.tables.spec import CsvSpec
from deepseek.train.columns import Labels, is_number, read_labels, read_number, to_numbers
from deepseek.train.spec import MOST_CLASSES, TrainSpec

T = TypeVar("T")
SLOT = "inputs/predictions"
PREDICTION, ROW = "prediction", "row"
SUM_OFF = 1e-3
"""How far the probabilities of a row may be from 1 together: they may have been rounded."""
NOT_MISSING = ("NaN", "nan")
"""Missing in any other table; here a model that says so has failed, and its row is not simply left out."""
WHOLE = re.compile(r" *([+-]?[0-9]{1,18})(\.0*)? *")


@dataclass(frozen=True)
class Predictions:
    """By the rows of the table that is measured on: `complete` (n,) of bool, where a prediction was given, and what.

    `classes` in their order; `guess` (n,) are places in them; `outputs` (n, 1) or (n, C), where numbers were given.
    """

    complete: npt.NDArray[np.bool_]
    classes: list[str]
    outputs: Outputs | None
    guess: Target | None


def read_predictions(path: Path, rows: int, *, texts: bool = False) -> pa.Table:
    """The table of predictions with a row for each of the `rows` of the measured one, in its order, null where none is.
    `texts`: what a CSV file predicts is text, be it all digits.

    Raises what `read_as_is` does, and EngineError ``unknown_column``, ``predictions_count``, ``prediction_row``.
    """
    missing = [token for token in DEFAULT_MISSING if token not in NOT_MISSING]
    table = report_errors_at_slot(
        lambda: read_as_is(path, CsvSpec(missing_tokens=missing), [PREDICTION] if texts else [])
    )
    if PREDICTION not in table.column_names:
        raise build_unknown_column_error(table.column_names, PREDICTION, SLOT)
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            table = table.set_column(table.column_names.index(name), name, column.cast(column.type.value_type))
    if ROW in table.column_names:
        return table.take(_index_by_row(table.column(ROW), rows))
    if table.num_rows != rows:
        raise EngineError(
            "predictions_count",
            "There are {num_rows:,} predictions, and the table has {rows:,} rows.",
            num_rows=table.num_rows,
            rows=rows,
            field=SLOT,
            value=str(table.num_rows),
            limit=f"{rows} rows, in the order of the table",
            hint=N_("Give one for each row, or a column row that says which row each is of, counted from 1."),
        )
    return table


def parse_values(table: pa.Table) -> Predictions:
    """Predictions of numbers, or the scores of a ranking. Raises EngineError ``column_not_numeric``,
    ``prediction_not_finite``, ``value_too_large``."""
    complete = _find_complete_rows(table, [PREDICTION])
    _read_numbers(table, PREDICTION, complete)
    return Predictions(complete, [], read_number(table, PREDICTION, SLOT)[:, None], None)


def parse_classes(table: pa.Table, labels: Labels, kind: pa.DataType) -> Predictions:
    """Predictions of classes, with probabilities where they were given. `labels` are those of the target, of type
    `kind`; a class that has probabilities and does not occur among them is known too.

    Raises EngineError ``class_unknown``, ``probability_missing``, ``prediction_incomplete``, ``prediction_not_finite``,
    ``probability_range``, ``probability_sum``, ``column_not_numeric``, ``target_not_classes``.
    """
    shares = [name for name in table.column_names if name.startswith(SHARE)]
    share_classes = [name.removeprefix(SHARE) for name in shares]
    if shares and (lacking := [name for name in labels.names if name not in share_classes]):
        raise EngineError(
            "probability_missing",
            "The class {lacking!r} has no column of probabilities.",
            lacking=lacking[0],
            field=SLOT,
            value=", ".join(shares[:20]),
            limit=", ".join(f"{SHARE}{name}" for name in labels.names[:20]),
            hint=N_("Give a column p_<class> for every class, or none at all."),
        )
    classes = _sort_class_names({*labels.names, *share_classes}, kind)
    if len(classes) > MOST_CLASSES:
        raise EngineError(
            "too_many_classes",
            "There are probabilities of {count:,} classes.",
            count=len(share_classes),
            field=SLOT,
            value=str(len(share_classes)),
            limit=f"{MOST_CLASSES} classes",
            hint=N_("Leave the columns p_<class> out: accuracy, precision, recall and F1 need none."),
        )
    complete = _find_complete_rows(table, [PREDICTION, *shares])
    if pa.types.is_floating(table.column(PREDICTION).type):
        _read_numbers(table, PREDICTION, complete)
    predicted = report_errors_at_slot(lambda: read_labels(table, TrainSpec(task="classification", target=PREDICTION)))
    place = _match_class_names(predicted.names, classes)
    if unknown := [name for name in predicted.names if name not in place]:
        raise build_unknown_class_error(unknown, classes)
    translate = np.array([*(place[name] for name in predicted.names), -1], np.int64)  # the code -1 is the last
    outputs = _read_shares(table, [f"{SHARE}{name}" for name in classes], complete) if shares else None
    return Predictions(complete, classes, outputs, translate[predicted.codes])


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _match_class_names(names: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Where each of the names stands in the classes; without those that are none.

    As it is written; else, as a number or a truth value that some program wrote in its own way (``1.0``, ``True``), the
    class that `read_labels` would make of it, if no other class is the same number.
    """
    place, alike = {name: at for at, name in enumerate(classes)}, Counter(map(_normalize_class_name, classes))
    matches = {}
    for name in names:
        canonical = name if name in place else _normalize_class_name(name)
        if name in place or (canonical in place and alike[canonical] == 1):
            matches[name] = place[canonical]
    return matches


def _normalize_class_name(name: str) -> str:
    match = WHOLE.fullmatch(name)
    if match:
        return str(int(match[1]))
    return name.lower() if name.lower() in ("true", "false") else name


def build_unknown_class_error(unknown: Sequence[str], classes: Sequence[str]) -> EngineError:
    return EngineError(
        "class_unknown",
        "There are predictions of classes that the target does not have.",
        field=SLOT,
        value=", ".join(unknown[:10]),
        limit=", ".join(classes[:20]),
        hint=N_("Write classes as the table does. A class that does not occur there is known by its column p_<class>."),
    )


def build_missing_predictions_error(left_out: int, rows: int) -> EngineError:
    return EngineError(
        "too_many_missing",
        "{left_out:,} of {asked:,} rows lack a prediction or the target.",
        left_out=left_out,
        asked=rows,
        field=SLOT,
        value=str(left_out),
        limit=f"at most {MOST_LEFT_OUT:.0%} of the rows",
        hint=N_("Predict the others too: what is left may be no fair sample."),
    )


def report_errors_at_slot(read: Callable[[], T]) -> T:
    """What `read` gives; what is wrong is told of the slot of the predictions, whatever else it was read for."""
    try:
        return read()
    except EngineError as error:
        error.field = SLOT
        raise


def _index_by_row(column: pa.ChunkedArray, rows: int) -> pa.Array:
    """For each row of the measured table, where its prediction stands; null where there is none."""
    numeric = is_number(column.type) and not pa.types.is_boolean(column.type)
    row_numbers = to_numbers(column) if numeric else np.full(len(column), np.nan)
    wrong = np.flatnonzero(~((row_numbers >= 1) & (row_numbers <= rows) & (row_numbers == np.floor(row_numbers))))
    if wrong.size:
        value, line = _format_scalar(column[int(wrong[0])]), int(wrong[0]) + 1
        message = Message("{value} in data row {line} is no row of the table.", value=value, line=line)
        raise _build_row_error(message, value, f"whole numbers from 1 to {rows}")
    at = row_numbers.astype(np.int64) - 1
    values, counts = np.unique(at, return_counts=True)
    if (counts > 1).any():
        twice = str(int(values[counts > 1][0]) + 1)
        raise _build_row_error(
            Message("Row {twice} has more than one prediction.", twice=twice), twice, "one for each row"
        )
    places = np.full(rows, -1, np.int64)
    places[at] = np.arange(len(at))
    return pa.array(places, mask=places < 0)


def _build_row_error(message: str, value: str, limit: str) -> EngineError:
    return EngineError(
        "prediction_row",
        message,
        field=SLOT,
        value=value,
        limit=limit,
        hint=N_("The column row counts the rows of the table from 1, the header not counted."),
    )


def _find_complete_rows(table: pa.Table, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Where all of these were given; EngineError ``prediction_incomplete`` where some were."""
    filled = np.column_stack([table.column(name).is_valid().to_numpy() for name in names])
    incomplete = np.flatnonzero(filled.any(axis=1) & ~filled.all(axis=1))
    if incomplete.size:
        row, lacks = int(incomplete[0]) + 1, names[int(np.flatnonzero(~filled[incomplete[0]])[0])]
        raise EngineError(
            "prediction_incomplete",
            "The prediction for row {row} of the table has no {lacks}.",
            row=row,
            lacks=lacks,
            field=SLOT,
            value=lacks,
            limit=", ".join(names[:20]),
            hint=N_("Fill every column of a prediction, or leave all of them empty where there is none."),
        )
    return np.asarray(filled.all(axis=1))


def _read_numbers(table: pa.Table, name: str, complete: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """A column of finite numbers, wherever a prediction was given."""
    column = table.column(name)
    if not is_number(column.type) and len(column) > column.null_count:
        raise EngineError(
            "column_not_numeric",
            "The column {name!r} is not numeric: its type is {column_type}.",
            name=name,
            column_type=column.type,
            field=SLOT,
            value=name,
            limit="a column of numbers",
            hint=N_("Give numbers, without units or thousands separators."),
        )
    values = to_numbers(column) if is_number(column.type) else np.full(len(column), np.nan)
    if (wrong := np.flatnonzero(complete & ~np.isfinite(values))).size:
        raise _build_value_error(
            "prediction_not_finite",
            int(wrong[0]),
            name,
            f"{values[wrong[0]]:g}",
            "finite numbers",
            Message(
                "Leave a row empty only where the table lacks what the model needs; it is then counted as left out."
            ),
        )
    return values


def _read_shares(table: pa.Table, names: Sequence[str], complete: npt.NDArray[np.bool_]) -> Outputs:
    shares = np.column_stack([_read_numbers(table, name, complete) for name in names])
    outside = np.argwhere(complete[:, None] & ((shares < 0) | (shares > 1)))
    if outside.size:
        row, column = int(outside[0][0]), int(outside[0][1])
        raise _build_value_error(
            "probability_range",
            row,
            names[column],
            f"{shares[row, column]:g}",
            "0 to 1",
            Message("Give probabilities, no percentages and no scores."),
        )
    sums = shares.sum(axis=1)
    if (off := np.flatnonzero(complete & (np.abs(sums - 1) > SUM_OFF))).size:
        raise _build_value_error(
            "probability_sum",
            int(off[0]),
            "the sum of p_<class>",
            f"{sums[off[0]]:.6g}",
            f"1, give or take {SUM_OFF:g}",
            Message("Give the probabilities of all classes of a row, as the model made them."),
        )
    return shares.astype(np.float32)


def _build_value_error(code: str, place: int, what: str, value: str, limit: str, hint: str) -> EngineError:
    row = place + 1
    message = Message("The prediction for row {row} of the table: {what} is {value}.", row=row, what=what, value=value)
    return EngineError(code, message, field=SLOT, value=value, limit=limit, hint=hint)


def _sort_class_names(names: set[str], kind: pa.DataType) -> list[str]:
    """As the target's classes are ordered: whole numbers by their size, everything else as text."""
    integers = not (is_text(kind) or pa.types.is_boolean(kind))
    if not integers:
        return sorted(names)
    try:
        return sorted(names, key=int)
    except ValueError:
        numeric = [name for name in names if name.lstrip("-").isdecimal()]
        raise build_unknown_class_error(sorted(names - set(numeric)), sorted(numeric, key=int)) from None


def _format_scalar(value: pa.Scalar) -> str:
    return str(value.as_py())[:40]
