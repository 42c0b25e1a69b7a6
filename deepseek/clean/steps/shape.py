"""Steps on columns as such: names, choice, types, and columns computed from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.expression import ExpressionNode, list_columns, parse_expression
from deepseek.clean.steps.base import (
    StepRunner,
    build_schema,
    build_unfit_error,
    change_types,
    is_number,
    list_visible_columns,
    replace_columns,
)
from deepseek.clean.steps.casting import TYPES, can_cast, convert_column
from deepseek.clean.steps.numbers import convert_to_floats
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.streams import ORIGIN_COLUMN

Floats = npt.NDArray[np.float64]


class RenameStep(StepRunner):
    """rename"""

    def bind(self, schema: pa.Schema) -> None:
        names = list_visible_columns(schema)
        for place, renaming in enumerate(self.step.names):
            current = pa.schema([(name, pa.null()) for name in names])
            self.require_column(current, renaming.column, "names", place, "column")
            if renaming.name != renaming.column:
                self.require_free_name(current, renaming.name, "names", place, "name")
            names[names.index(renaming.column)] = renaming.name
        fields = [pa.field(name, each.type) for name, each in zip(names, schema, strict=False)]
        self.schema = build_schema(schema, fields)

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)


class KeepStep(StepRunner):
    """keep"""

    def bind(self, schema: pa.Schema) -> None:
        names = self.choose_columns(schema, lambda kind: True, "any column", code="column_not_fit")
        self.schema = build_schema(schema, [schema.field(name) for name in names])

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.select(self.schema.names)


class DropStep(KeepStep):
    """drop"""

    def bind(self, schema: pa.Schema) -> None:
        names = self.choose_columns(schema, lambda kind: True, "any column", code="column_not_fit")
        left = [name for name in list_visible_columns(schema) if name not in names]
        if not left:
            raise EngineError(
                "no_column_left",
                "The step drops every column.",
                field=self.get_pointer("columns"),
                limit="at least one column that stays",
                hint="Leave a column out of the list.",
            )
        self.schema = build_schema(schema, [schema.field(name) for name in left])


class CastStep(StepRunner):
    """cast"""

    def bind(self, schema: pa.Schema) -> None:
        self.names = self.choose_columns(schema, lambda kind: True, "any column", code="column_not_fit")
        for place, name in enumerate(self.names):
            kind = schema.field(name).type
            if not can_cast(kind, self.step.to):
                limit = f"a column that can become {self.step.to}"
                raise build_unfit_error(name, kind, self.get_pointer("columns", place), limit, code="column_not_fit")
        self.kind = TYPES[self.step.to]
        self.schema = change_types(schema, dict.fromkeys(self.names, self.kind))

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        start = self.place.first_row
        for batch in batches:
            new = {}
            for place, name in enumerate(self.names):
                column = batch.column(name)
                new[name], bad = convert_column(column, self.step.to, self.step.format)
                if bad.any():
                    row = int(np.flatnonzero(bad)[0])
                    if self.step.unfit == "refuse":
                        value = self.quote_value([name], str(column[row].as_py()))
                        raise self._build_refusal(name, place, start + row + 1, value)
                    self.count(name, int(bad.sum()))
            start += batch.num_rows
            yield replace_columns(batch, self.schema, new)

    def _build_refusal(self, name: str, place: int, row: int, value: str) -> EngineError:
        return EngineError(
            "value_not_fit",
            "Row {row} of the column {name!r} holds {found!r}, which cannot become {to}.",
            row=row,
            name=name,
            found=value[:60],
            to=self.step.to,
            field=self.get_pointer("columns", place),
            value=value[:200],
            limit=f"values that can become {self.step.to}; rows count from 1, the header not among them",
            hint=N_("Correct it, make it a missing token, or let the step make unfit values missing."),
        )


class DeriveStep(StepRunner):
    """derive"""

    def bind(self, schema: pa.Schema) -> None:
        self.tree = parse_expression(self.step.expression)
        for name in list_columns(self.tree):
            kind = self.require_column(schema, name, "expression")
            if not (is_number(kind) or pa.types.is_boolean(kind)):
                raise build_unfit_error(
                    name,
                    kind,
                    self.get_pointer("expression"),
                    "a column of integers or floats",
                    code="column_not_numeric",
                )
        derived, names = pa.field(self.step.name, pa.float64()), list_visible_columns(schema)
        fields = [derived if name == self.step.name else schema.field(name) for name in names]
        self.schema = build_schema(schema, fields if self.step.name in names else [*fields, derived])

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = list_columns(self.tree)
        for batch in batches:
            columns = {}
            for name in names:
                column = batch.column(name)
                numeric = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
                columns[name] = convert_to_floats(numeric).astype(np.float64, copy=False)
            with np.errstate(all="ignore"):
                values = np.array(
                    np.broadcast_to(evaluate_expression(self.tree, columns), batch.num_rows), dtype=np.float64
                )
            values[~np.isfinite(values)] = np.nan
            self.count(self.step.name, batch.num_rows)
            yield replace_columns(batch, self.schema, {self.step.name: pa.array(values, from_pandas=True)})


OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": np.log,
    "exp": np.exp,
    "round": np.round,
    "floor": np.floor,
    "ceil": np.ceil,
    "min": np.minimum,
    "max": np.maximum,
    "**": lambda base, power: np.where(np.isnan(base) | np.isnan(power), np.nan, np.power(base, power)),
}


def evaluate_expression(node: ExpressionNode, columns: Mapping[str, Floats]) -> Any:
    """The value of an expression in each row, in float64; NaN where an operand is missing."""
    if node.op == "number":
        return np.float64(node.value)
    if node.op == "column":
        return columns[str(node.value)]
    return OPERATIONS[node.op](*(evaluate_expression(part, columns) for part in node.parts))


def drop_origin_column(schema: pa.Schema) -> pa.Schema:
    """Return the schema without the hidden column of row numbers."""
    return pa.schema([each for each in schema if each.name != ORIGIN_COLUMN])
