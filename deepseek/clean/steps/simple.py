"""What a spec without steps asks for, done as one step: outliers, then the fill, both of the column as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from deepseek.clean.steps.fences import fences_of
from deepseek.clean.steps.numbers import (
    FLAG_SUFFIX,
    Context,
    Mask,
    New,
    Numbers,
    filled_by_median,
    reader,
    treated,
)
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.quality.outliers import Fences
from deepseek.tables.batches import Batches


class Simple(Numbers):
    """The plan of a spec without steps: outliers, then the fill, both of the column as it was."""

    passes = True

    def columns(self, schema: pa.Schema) -> list[str]:
        spec = self.step.spec
        self.half = spec.window_size // 2 if spec.fill == "median_window" else 0
        self.flags = spec.outliers.method != "none" and spec.outliers.action == "flag"
        self.filled: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        return list(self.step.columns)

    def named(self) -> bool:
        return self.step.spec.columns is not None

    def field_of(self, name: str) -> str:
        return "/columns"

    def prepare(self, source: Batches) -> None:
        self.left: dict[str, str] = {}
        given = [name for name in source.schema.names if name in self.step.columns]
        held, self.around.warnings = self.around.warnings, []
        super().prepare(source)
        left = iter(self.around.warnings)
        for name in given:
            if name not in self.names:
                held.append(next(left))
            elif note := self.fences[name].note:
                held.append(f"Column {name!r}: {note}.")
        self.around.warnings = held
        self.filled = dict.fromkeys([name for name in given if name in self.names], 0)
        self.missing, self.found = dict(self.filled), dict(self.filled)

    def free(self, schema: pa.Schema, name: str, *place: str | int) -> str:
        if name in schema.names:
            raise EngineError(
                "column_exists",
                "The flags of {removesuffix!r} need the column name {name!r}, which the table already has.",
                removesuffix=name.removesuffix(FLAG_SUFFIX),
                name=name,
                field="/outliers/action",
                value="flag",
                limit="cap, blank, or a table without that column",
                hint=N_("Rename or remove that column, or choose another action."),
            )
        return name

    def look(self, source: Batches) -> None:
        outliers = self.step.spec.outliers
        self.wholes = {name for name in self.names if pa.types.is_integer(source.schema.field(name).type)}
        self.fences = {name: Fences(-np.inf, np.inf) for name in self.names}
        if outliers.method != "none":
            self.fences = {name: fences_of(outliers, reader(source, name)) for name in self.names}

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.filled, self.missing = dict.fromkeys(self.filled, 0), dict.fromkeys(self.missing, 0)
        return super().__call__(batches)

    def new(self, name: str, context: Context, first: int) -> New:
        spec = self.step.spec
        values, start, size = context
        part = slice(start, start + size)
        if spec.outliers.method == "none":
            outside: Mask = np.zeros(size, dtype=bool)
        else:
            found = treated(values, self.fences[name], spec.outliers.action, name in self.wholes)
            values, outside = found.values, np.asarray(found.outside)[part]
        own: Any = values[part]
        if spec.fill == "median_window":
            own, changed = filled_by_median(values, start, size, self.half)
        else:
            changed = np.zeros(size, dtype=bool)
        if name in self.filled:
            self.filled[name] += int(changed.sum())
            self.missing[name] += int(np.isnan(own).sum())
        moved = outside if spec.outliers.action != "flag" else False
        return New(own, changed | moved, outside)
