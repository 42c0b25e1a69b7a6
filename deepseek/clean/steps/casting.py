"""Values of one type as values of another, and which of them cannot be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import is_number, is_text, is_time
from deepseek.clean.steps.values import FALSE, TRUE

Mask = npt.NDArray[np.bool_]
TYPES = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}


def can_cast(kind: pa.DataType, to: str) -> bool:
    """Whether values of this type may become one: no numbers become dates, and no dates numbers."""
    if pa.types.is_null(kind) or is_text(kind):
        return True
    if to == "text":
        return not pa.types.is_nested(kind) and not pa.types.is_binary(kind)
    if to in ("date", "timestamp"):
        return is_time(kind)
    return is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)


def convert_column(column: pa.Array, to: str, form: str | None) -> tuple[pa.Array, Mask]:
    """The column as the type named, and which present values did not fit: they are missing in it."""
    kind = TYPES[to]
    if pa.types.is_null(column.type):
        return column.cast(kind), np.zeros(len(column), dtype=bool)
    if is_text(column.type):
        result = _cast_text(column, to, form)
    elif to == "integer":
        result = _cast_to_integer(column)
    elif to == "boolean":
        result = _cast_to_boolean(column)
    elif to == "text" and pa.types.is_boolean(column.type):
        result = pc.if_else(column, "true", "false")
    else:
        result = column.cast(kind, safe=False)
    bad = column.is_valid().to_numpy(zero_copy_only=False) & result.is_null().to_numpy(zero_copy_only=False)
    return result, np.asarray(bad, dtype=bool)


def _cast_to_boolean(column: pa.Array) -> pa.Array:
    """1 as true and 0 as false; missing for other numbers."""
    if pa.types.is_boolean(column.type):
        return column
    fits = pc.is_in(column, pa.array([0, 1]).cast(column.type))
    return pc.if_else(fits, pc.not_equal(column, pa.scalar(0).cast(column.type)), None)


def _cast_to_integer(column: pa.Array) -> pa.Array:
    """Numbers as integers of 64 bits; missing where they are not whole, or beyond."""
    if pa.types.is_boolean(column.type) or pa.types.is_signed_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_integer(column.type):
        fits = pc.less_equal(column, pa.scalar(2**63 - 1, pa.uint64()))
        return pc.if_else(fits, column, None).cast(pa.int64())
    values = column.cast(pa.float64(), safe=False)
    fits = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**63))
    return pc.if_else(fits, values, None).cast(pa.int64(), safe=False)


def format_decimals(column: pa.Array) -> pa.Array:
    """Numbers in decimal digits: whole floats below 2**63 as integers are, for missing values made them floats."""
    texts = column.cast(pa.string())
    return (
        pc.coalesce(_cast_to_integer(column).cast(pa.string()), texts) if pa.types.is_floating(column.type) else texts
    )


def _cast_text(column: pa.Array, to: str, form: str | None) -> pa.Array:
    kind = TYPES[to]
    if to == "text":
        return column.cast(kind)
    text = pc.utf8_trim_whitespace(column).cast(pa.string())
    if to == "boolean":
        word = pc.utf8_lower(text)
        is_true = pc.is_in(word, pa.array(TRUE))
        return pc.if_else(pc.or_(is_true, pc.is_in(word, pa.array(FALSE))), is_true, None)
    if form is not None and to in ("date", "timestamp"):
        return pc.strptime(text, format=form, unit="us", error_is_null=True).cast(kind, safe=False)
    return _parse_texts(text, kind)


def _parse_texts(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """What Arrow reads in the texts, missing where it reads nothing of this type."""
    try:
        result = text.cast(kind)
    except (pa.ArrowException, ValueError):
        encoded = text.dictionary_encode()
        values = [_cast_or_none(value, kind) for value in encoded.dictionary]
        result = pa.array(values, type=kind).take(encoded.indices)
    if pa.types.is_floating(kind):
        result = pc.if_else(pc.is_finite(result), result, None)
    return result


def _cast_or_none(value: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return value.cast(kind)
    except (pa.ArrowException, ValueError):
        return None
