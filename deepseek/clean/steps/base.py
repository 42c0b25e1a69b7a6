"""The base class of running steps: context, choice of columns, counters and errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.partitions.rounds import Rounds
from deepseek.tables.batches import Batches
from deepseek.tables.files import build_unknown_column_error
from deepseek.tables.redaction import REDACTED
from deepseek.tables.streams import ORIGIN_COLUMN, MappedBatches, select_columns, select_from_batches


@dataclass
class StepContext:
    """The context of a step: its pointer in the spec, the spill folder, the other inputs, its warnings.

    `masked`: the columns that some step of the plan masks, as they are called here; an error quotes no cell of them.
    """

    pointer: str = ""
    folder: Path | None = None
    second: Callable[[], Batches] | None = None
    key: bytes | None = None
    warnings: list[str] = field(default_factory=list)
    masked: Collection[str] = ()


Scope = Literal["local", "prefix", "global"]


@dataclass(frozen=True)
class Place:
    """Which part of the table a runner treats: `first_row` counts the rows of the partitions before it."""

    partition: int = 0
    partitions: int = 1
    first_row: int = 0


class StepRunner:
    """A running step. `rounds` may read the source several times; `apply` transforms one reading of it.

    `schema` is that of what comes out, once the rounds are done. `cells` counts the changed cells by column, and
    `rows_in`, `rows_out` and `inserted` the rows, of the latest complete reading.
    """

    scope: ClassVar[Scope] = "local"
    """What a partition needs of the others: nothing, what stands at its edges, or the whole column."""
    passes = False
    """Whether its rounds read the source."""
    heavy = False
    """Whether to apply it twice costs more than to keep what came out."""

    def __init__(self, step: Any, schema: pa.Schema, context: StepContext, place: Place = Place()) -> None:
        self.step, self.context, self.place = step, context, place
        self.source_schema = self.schema = schema
        self.cells: dict[str, int] = {}
        self.found: dict[str, int] = {}
        self.rows_in = self.rows_out = self.inserted = 0
        self.bind(schema)

    def bind(self, schema: pa.Schema) -> None:
        """Check the step against the columns that enter it, and set `schema` as far as they tell it."""

    def rounds(self) -> Rounds[None]:
        """What the step must know of its input before it is applied, round by round; sets what is left of `schema`."""
        yield from ()

    @property
    def is_whole(self) -> bool:
        """Whether the table is in one piece."""
        return self.place.partitions == 1

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches as they are after this step."""
        raise NotImplementedError

    def restrict_columns(self, names: Collection[str]) -> StepRunner | None:
        """Return a copy that reads only what these columns need (its `schema` names them), or None if it needs all.

        Only for a step that takes and gives the same columns, and neither drops nor refuses rows for the others' sake.
        """
        return None

    def copy_for_columns(self, names: Collection[str]) -> Self:
        """A copy on these columns alone."""
        clone = copy(self)
        clone.schema = pa.schema([field for field in self.schema if field.name in names])
        clone.cells, clone.found = {}, {}
        return clone

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """`apply`, with everything counted anew."""
        self.cells, self.found = dict.fromkeys(self.cells, 0), dict.fromkeys(self.found, 0)
        self.rows_in = self.rows_out = self.inserted = 0
        for batch in self.apply(self._count_entering(batches)):
            self.rows_out += batch.num_rows
            yield batch

    def _count_entering(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            self.rows_in += batch.num_rows

    def count(self, name: str, cells: int) -> None:
        if cells:
            self.cells[name] = self.cells.get(name, 0) + cells

    def quote_value(self, names: Sequence[str], value: str) -> str:
        """What an error shows of a value of these columns: nothing where one of them is masked."""
        return REDACTED if any(name in self.context.masked for name in names) else value

    # -- columns ------------------------------------------------------------------------------------------------------
    def get_pointer(self, *parts: str | int) -> str:
        """The JSON pointer of a field of this step."""
        return "/".join([self.context.pointer, *map(str, parts)])

    def choose_columns(
        self, schema: pa.Schema, fits: Callable[[pa.DataType], bool], limit: str, code: str
    ) -> list[str]:
        """The columns that the step names, or all that fit. EngineError for one that is not there or does not fit."""
        names = list_visible_columns(schema)
        if self.step.columns is None:
            return [name for name in names if fits(schema.field(name).type)]
        for place, name in enumerate(self.step.columns):
            self.require_column(schema, name, "columns", place)
            if not fits(schema.field(name).type):
                raise build_unfit_error(name, schema.field(name).type, self.get_pointer("columns", place), limit, code)
        return list(self.step.columns)

    def require_column(self, schema: pa.Schema, name: str, *place: str | int) -> pa.DataType:
        """The type of a column that must be there."""
        if name not in list_visible_columns(schema):
            raise build_unknown_column_error(list_visible_columns(schema), name, self.get_pointer(*place))
        return schema.field(name).type

    def require_free_name(self, schema: pa.Schema, name: str, *place: str | int) -> str:
        """The name, if no column has it yet."""
        if name in list_visible_columns(schema):
            raise EngineError(
                "column_exists",
                "The step needs the column name {name!r}, which the table already has.",
                name=name,
                field=self.get_pointer(*place),
                value=name,
                limit="a name that no column has",
                hint=N_("Rename or drop that column in a step before this one."),
            )
        return name


class SteppedBatches(MappedBatches):
    """The output of a step over its source; columns that are not requested stay unread where possible."""

    def __init__(self, source: Batches, runner: StepRunner) -> None:
        super().__init__(source, runner.schema, runner)
        self.runner = runner

    def select_columns(self, names: Sequence[str]) -> Batches:
        runner = self.runner.restrict_columns(names)
        if runner is None or not runner.schema.names:  # batches without a column would not tell their rows
            return select_from_batches(self, names)
        restricted = SteppedBatches(select_columns(self.source, runner.schema.names), runner)
        return select_from_batches(restricted, names)


def list_visible_columns(schema: pa.Schema) -> list[str]:
    """The names of the columns that are the table's own."""
    return [name for name in schema.names if name != ORIGIN_COLUMN]


def build_schema(schema: pa.Schema, fields: Sequence[pa.Field]) -> pa.Schema:
    """A schema of these fields, and the hidden column last where there is one."""
    hidden = [schema.field(ORIGIN_COLUMN)] if ORIGIN_COLUMN in schema.names else []
    return pa.schema([*fields, *hidden])


def replace_columns(batch: pa.RecordBatch, schema: pa.Schema, new: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """The batch under the schema, these columns replaced or added."""
    arrays = [new[name] if name in new else batch.column(name) for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def change_types(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The schema with some columns of another type."""
    return pa.schema([pa.field(f.name, types.get(f.name, f.type)) for f in schema])


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def build_unfit_error(name: str, kind: pa.DataType, field: str, limit: str, code: str) -> EngineError:
    hint = Message("Leave the column out, or give it another type with a step cast before this one.")
    if pa.types.is_null(kind):
        return EngineError(
            "column_all_missing",
            "The column {name!r} has no value at all.",
            name=name,
            field=field,
            value=name,
            limit="at least one present value",
            hint=N_("Leave the column out, or check the missing tokens of the spec."),
        )
    return EngineError(
        code,
        "The column {name!r} is of type {kind}, which this step does not treat.",
        name=name,
        kind=kind,
        field=field,
        value=name,
        limit=limit,
        hint=hint,
    )
