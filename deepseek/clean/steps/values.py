"""Parse a value that a spec gives as text into a column's type."""

from __future__ import annotations

import pyarrow as pa

from deepseek.job import EngineError
from deepseek.messages import N_

TRUE, FALSE = ("true", "1", "yes", "是"), ("false", "0", "no", "否")


def parse_scalar(text: str, kind: pa.DataType, field: str, name: str, column_field: str = "") -> pa.Scalar:
    """The text as a value of `kind`. Raises EngineError ``value_not_fit`` at `field`."""
    try:
        if pa.types.is_boolean(kind):
            word = text.strip().lower()
            if word not in (*TRUE, *FALSE):
                raise pa.ArrowInvalid("neither true nor false")
            return pa.scalar(word in TRUE, kind)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return pa.scalar(text, kind)
        scalar = pa.scalar(text.strip()).cast(kind)
        if pa.types.is_floating(kind) and scalar.as_py() != scalar.as_py():
            raise pa.ArrowInvalid("not a number")
        return scalar
    except (pa.ArrowException, ValueError) as error:
        raise EngineError(
            "value_not_fit",
            "{text!r} is no value of the column {name!r}, whose type is {kind}.",
            text=text[:60],
            name=name,
            kind=kind,
            field=field,
            value=text[:200],
            limit=str(kind),
            hint=N_("Write it as a CSV file has it, or give the column another type with a step cast before this one."),
        ) from error
