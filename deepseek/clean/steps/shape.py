"""Steps on columns as such: names, choice, types, and columns computed from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.expression import Node, columns_in, parse
from deepseek.clean.steps.base import StepRunner, is_number, placed, put, retyped, unfit, visible
from deepseek.clean.steps.casting import TYPES, can_cast, converted
from deepseek.clean.steps.numbers import floats_of
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.batches import Batches
from deepseek.tables.streams import ORIGIN_COLUMN

Floats = npt.NDArray[np.float64]


class Rename(StepRunner):
    """rename"""

    def prepare(self, source: Batches) -> None:
        names = visible(source.schema)
        for place, one in enumerate(self.step.names):
            now = pa.schema([(name, pa.null()) for name in names])
            self.need(now, one.column, "names", place, "column")
            if one.name != one.column:
                self.free(now, one.name, "names", place, "name")
            names[names.index(one.column)] = one.name
        fields = [pa.field(name, each.type) for name, each in zip(names, source.schema, strict=False)]
        self.schema = placed(source.schema, fields)

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)


class Keep(StepRunner):
    """keep"""

    def prepare(self, source: Batches) -> None:
        names = self.chosen(source.schema, lambda kind: True, "any column", code="column_not_fit")
        self.schema = placed(source.schema, [source.schema.field(name) for name in names])

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.select(self.schema.names)


class Drop(Keep):
    """drop"""

    def prepare(self, source: Batches) -> None:
        names = self.chosen(source.schema, lambda kind: True, "any column", code="column_not_fit")
        left = [name for name in visible(source.schema) if name not in names]
        if not left:
            raise EngineError(
                "no_column_left",
                "The step drops every column.",
                field=self.at("columns"),
                limit="at least one column that stays",
                hint="Leave a column out of the list.",
            )
        self.schema = placed(source.schema, [source.schema.field(name) for name in left])


class Cast(StepRunner):
    """cast"""

    def prepare(self, source: Batches) -> None:
        self.names = self.chosen(source.schema, lambda kind: True, "any column", code="column_not_fit")
        for place, name in enumerate(self.names):
            kind = source.schema.field(name).type
            if not can_cast(kind, self.step.to):
                limit = f"a column that can become {self.step.to}"
                raise unfit(name, kind, self.at("columns", place), limit, code="column_not_fit")
        self.kind = TYPES[self.step.to]
        self.schema = retyped(source.schema, dict.fromkeys(self.names, self.kind))

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in batches:
            new = {}
            for place, name in enumerate(self.names):
                column = batch.column(name)
                new[name], bad = converted(column, self.step.to, self.step.format)
                if bad.any():
                    row = int(np.flatnonzero(bad)[0])
                    if self.step.unfit == "refuse":
                        value = self.quoted([name], str(column[row].as_py()))
                        raise self._refusal(name, place, start + row + 1, value)
                    self.count(name, int(bad.sum()))
            start += batch.num_rows
            yield put(batch, self.schema, new)

    def _refusal(self, name: str, place: int, row: int, value: str) -> EngineError:
        return EngineError(
            "value_not_fit",
            "Row {row} of the column {name!r} holds {found!r}, which cannot become {to}.",
            row=row,
            name=name,
            found=value[:60],
            to=self.step.to,
            field=self.at("columns", place),
            value=value[:200],
            limit=f"values that can become {self.step.to}; rows count from 1, the header not among them",
            hint=N_("Correct it, make it a missing token, or let the step make unfit values missing."),
        )


class Derive(StepRunner):
    """derive"""

    def prepare(self, source: Batches) -> None:
        self.tree = parse(self.step.expression)
        for name in columns_in(self.tree):
            kind = self.need(source.schema, name, "expression")
            if not (is_number(kind) or pa.types.is_boolean(kind)):
                raise unfit(
                    name, kind, self.at("expression"), "a column of integers or floats", code="column_not_numeric"
                )
        made, names = pa.field(self.step.name, pa.float64()), visible(source.schema)
        fields = [made if name == self.step.name else source.schema.field(name) for name in names]
        self.schema = placed(source.schema, fields if self.step.name in names else [*fields, made])

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = columns_in(self.tree)
        for batch in batches:
            columns = {}
            for name in names:
                column = batch.column(name)
                whole = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
                columns[name] = floats_of(whole).astype(np.float64, copy=False)
            with np.errstate(all="ignore"):
                values = np.array(np.broadcast_to(computed(self.tree, columns), batch.num_rows), dtype=np.float64)
            values[~np.isfinite(values)] = np.nan
            self.count(self.step.name, batch.num_rows)
            yield put(batch, self.schema, {self.step.name: pa.array(values, from_pandas=True)})


PLAIN: dict[str, Callable[..., Any]] = {
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


def computed(node: Node, columns: Mapping[str, Floats]) -> Any:
    """The value of an expression in each row, in float64; NaN where an operand is missing."""
    if node.op == "number":
        return np.float64(node.value)
    if node.op == "column":
        return columns[str(node.value)]
    return PLAIN[node.op](*(computed(part, columns) for part in node.parts))


def without_origin(schema: pa.Schema) -> pa.Schema:
    """The schema as it is written."""
    return pa.schema([each for each in schema if each.name != ORIGIN_COLUMN])
