"""The plan of a spec without steps, run as one step: outliers, then the fill, both on the original column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from deepseek.clean.steps.fences import fence_rounds
from deepseek.clean.steps.numbers import (
    FLAG_SUFFIX,
    Mask,
    NewValues,
    NumericStep,
    WindowContext,
    build_reader,
    fill_by_median,
    treat_outliers,
)
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.partitions.rounds import Rounds
from deepseek.quality.outliers import Fences


class SimplePlanStep(NumericStep):
    """The plan of a spec without steps: outliers, then the fill, both of the column as it was."""

    passes = True

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        spec = self.step.spec
        self.half = spec.window_size // 2 if spec.fill == "median_window" else 0
        self.flags = spec.outliers.method != "none" and spec.outliers.action == "flag"
        self.filled: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        return list(self.step.columns)

    def has_named_columns(self) -> bool:
        return self.step.spec.columns is not None

    def get_field_pointer(self, name: str) -> str:
        return "/columns"

    def rounds(self) -> Rounds[None]:
        names = [name for name in self.source_schema.names if name in self.step.columns]
        warnings, self.context.warnings = self.context.warnings, []
        yield from super().rounds()
        left = iter(self.context.warnings)
        for name in names:
            if name not in self.names:
                warnings.append(next(left))
            elif note := self.fences[name].note:
                warnings.append(f"Column {name!r}: {note}.")
        self.context.warnings = warnings
        self.filled = dict.fromkeys([name for name in names if name in self.names], 0)
        self.missing, self.found = dict(self.filled), dict(self.filled)

    def require_free_name(self, schema: pa.Schema, name: str, *place: str | int) -> str:
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

    def value_rounds(self) -> Rounds[None]:
        outliers = self.step.spec.outliers
        self.wholes = {name for name in self.names if pa.types.is_integer(self.source_schema.field(name).type)}
        self.fences = {name: Fences(-np.inf, np.inf) for name in self.names}
        if outliers.method != "none":
            for name in self.names:
                self.fences[name] = yield from fence_rounds(outliers, build_reader(name))

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.filled, self.missing = dict.fromkeys(self.filled, 0), dict.fromkeys(self.missing, 0)
        return super().__call__(batches)

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        spec = self.step.spec
        values, start, size = context
        part = slice(start, start + size)
        if spec.outliers.method == "none":
            outside: Mask = np.zeros(size, dtype=bool)
        else:
            result = treat_outliers(values, self.fences[name], spec.outliers.action, name in self.wholes)
            values, outside = result.values, np.asarray(result.outside)[part]
        own: Any = values[part]
        if spec.fill == "median_window":
            own, changed = fill_by_median(values, start, size, self.half)
        else:
            changed = np.zeros(size, dtype=bool)
        if name in self.filled:
            self.filled[name] += int(changed.sum())
            self.missing[name] += int(np.isnan(own).sum())
        moved = outside if spec.outliers.action != "flag" else False
        return NewValues(own, changed | moved, outside)
