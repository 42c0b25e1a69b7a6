"""The comparison of one part of two tables, in memory: which rows of it were added, removed or changed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.diff.sides import KEY, ROW, Side, as_text, cast, find_common_type
from deepseek.job import JSON, EngineError
from deepseek.messages import N_

CLIPPED = 200  # characters of a value in the summary
COLUMNS_TOLD = 20  # of one row in the summary

Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass
class Plan:
    """What is compared, and what the table of changes looks like."""

    before: Side
    after: Side
    keys: Sequence[str]
    key_types: Sequence[pa.DataType]
    shared: list[str] = field(init=False)
    gone: list[str] = field(init=False)
    new: list[str] = field(init=False)

    def __post_init__(self) -> None:
        before, after = self.before.schema.names, self.after.schema.names
        self.shared = [name for name in before if name in set(after) and name not in self.keys]
        self.gone = [name for name in before if name not in set(after)]
        self.new = [name for name in after if name not in set(before)]

    @property
    def schema(self) -> pa.Schema:
        """change, the key, columns (that differ), before_row, after_row, then before.NAME and after.NAME."""
        fields = [pa.field("change", pa.string())]
        fields += [pa.field(f"key.{key}", kind) for key, kind in zip(self.keys, self.key_types, strict=True)]
        fields += [pa.field("columns", pa.list_(pa.string()))]
        fields += [pa.field("before_row", pa.int64()), pa.field("after_row", pa.int64())]
        fields += [pa.field(f"before.{name}", self.before.schema.field(name).type) for name in self.shared + self.gone]
        fields += [pa.field(f"after.{name}", self.after.schema.field(name).type) for name in self.shared + self.new]
        return pa.schema(fields)


@dataclass
class Counts:
    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    by_column: Counter[str] = field(default_factory=Counter)
    sample: list[JSON] = field(default_factory=list)


def compare(
    plan: Plan, before: pa.Table | None, after: pa.Table | None, counts: Counts, sample: int
) -> pa.Table | None:
    """The rows of this part that differ, in the plan's schema; None for none. Adds to `counts`.

    Raises EngineError ``duplicate_key``, naming the key, the table and two of its rows.
    """
    old = build_empty_table(plan.before) if before is None else before
    new = build_empty_table(plan.after) if after is None else after
    index = index_of(plan, plan.before, old)
    place = index.get_indexer(index_of(plan, plan.after, new))
    added = np.flatnonzero(place < 0)
    matched = np.flatnonzero(place >= 0)
    partner = place[matched]
    removed = np.setdiff1d(np.arange(len(index)), partner, assume_unique=True)
    differ = {
        name: compare_columns(old.column(name).take(partner), new.column(name).take(matched)) for name in plan.shared
    }
    any_of = np.zeros(len(matched), dtype=bool)
    for name, mask in differ.items():
        counts.by_column[name] += int(mask.sum())
        any_of |= mask
    changed = np.flatnonzero(any_of)
    counts.added += len(added)
    counts.removed += len(removed)
    counts.changed += len(changed)
    counts.same += len(matched) - len(changed)
    if not len(added) + len(removed) + len(changed):
        return None
    names = np.array(plan.shared, dtype=object)
    matrix = np.column_stack([differ[name][changed] for name in plan.shared]) if plan.shared else np.zeros((0, 0), bool)
    columns = [list(names[row]) for row in matrix] if plan.shared else []
    parts = [
        build_changes(plan, "removed", old, removed, None, None, [[]] * len(removed)),
        build_changes(plan, "changed", old, partner[changed], new, matched[changed], columns),
        build_changes(plan, "added", None, None, new, added, [[]] * len(added)),
    ]
    changes = pa.concat_tables([part for part in parts if part.num_rows])
    left = sample - len(counts.sample)
    if left > 0:
        counts.sample += [serialize_change(plan, row) for row in changes.slice(0, left).to_pylist()]
    return changes


def build_changes(
    plan: Plan,
    change: str,
    old: pa.Table | None,
    old_rows: Places | None,
    new: pa.Table | None,
    new_rows: Places | None,
    columns: list[list[str]],
) -> pa.Table:
    """Rows of one kind of change."""
    count = len(columns)
    before = old.take(old_rows) if old is not None else None
    after = new.take(new_rows) if new is not None else None
    keyed = after if after is not None else before if before is not None else build_empty_table(plan.after)
    arrays: list[pa.ChunkedArray | pa.Array] = [pa.array([change] * count, pa.string())]
    arrays += [fit_column(keyed.column(key), kind) for key, kind in zip(plan.keys, plan.key_types, strict=True)]
    arrays.append(pa.array(columns, pa.list_(pa.string())))
    for table in (before, after):
        arrays.append(pa.nulls(count, pa.int64()) if table is None else table.column(ROW))
    for table, side, names in ((before, plan.before, plan.gone), (after, plan.after, plan.new)):
        for name in plan.shared + names:
            kind = side.schema.field(name).type
            arrays.append(pa.nulls(count, kind) if table is None else fit_column(table.column(name), kind))
    return pa.table(arrays, schema=plan.schema)


def fit_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type.equals(kind) else column.cast(kind)


def build_empty_table(side: Side) -> pa.Table:
    return (
        side.schema.empty_table()
        .append_column(KEY, pa.array([], pa.string()))
        .append_column(ROW, pa.array([], pa.int64()))
    )


def index_of(plan: Plan, side: Side, table: pa.Table) -> "pd.Index[str]":
    """The keys of the rows; EngineError for one that stands twice."""
    keys: pd.Index[str] = pd.Index(table.column(KEY).to_pandas().to_numpy(dtype=object))
    if keys.is_unique:
        return keys
    twice = int(np.flatnonzero(keys.duplicated())[0])
    first = int(np.flatnonzero(keys == keys[twice])[0])
    rows = sorted(table.column(ROW)[at].as_py() for at in (first, twice))
    value = ", ".join(f"{key} = {clip_value(table.column(key)[twice].as_py())}" for key in plan.keys)
    raise EngineError(
        "duplicate_key",
        "The key {found} stands in rows {rows} and {rows_2} of the table in {side_name}.",
        found=value,
        rows=rows[0],
        rows_2=rows[1],
        side_name=side.name,
        field=f"inputs/{side.name}",
        value=value[:200],
        limit="every key once; the first row below the header is row 1",
        hint=N_("Choose more columns for the key, or drop the duplicates first."),
    )


def compare_columns(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Where two columns of equal length hold different values; missing equals missing."""
    kind = find_common_type(left.type, right.type)
    if pa.types.is_string(kind) and not left.type.equals(right.type):
        left, right = convert_to_common_type(left, right)
    else:
        left, right = cast(left, kind), cast(right, kind)
    try:
        equal = pc.equal(left, right)
    except pa.ArrowNotImplementedError:
        equal = pc.equal(as_text(left), as_text(right))
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    same = pc.or_(pc.fill_null(equal, False), both)
    equal_mask: Mask = same.to_numpy(zero_copy_only=False) if isinstance(same, pa.Array) else same.to_numpy()
    return ~equal_mask


def convert_to_common_type(left: pa.ChunkedArray, right: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Text beside numbers or dates: the text is read as the other's type, where all of it can be."""
    for text, typed, swapped in ((left, right, False), (right, left, True)):
        if pa.types.is_string(text.type):
            try:
                read = text.cast(typed.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue
            return (typed, read) if swapped else (read, typed)
    return as_text(left), as_text(right)


def serialize_change(plan: Plan, row: dict[str, object]) -> JSON:
    """One row of the summary's sample, its values as text."""
    change = row["change"]
    changed = row["columns"]
    names: list[str] = plan.shared + (plan.new if change == "added" else plan.gone)
    if change == "changed" and isinstance(changed, list):
        names = changed
    return {
        "change": str(change),
        "key": [clip_value(row[f"key.{key}"]) for key in plan.keys],
        "columns": [
            {
                "name": name,
                "before": clip_value(row.get(f"before.{name}")),
                "after": clip_value(row.get(f"after.{name}")),
            }
            for name in names[:COLUMNS_TOLD]
        ],
        "more": max(0, len(names) - COLUMNS_TOLD),
    }


def clip_value(value: object) -> str | None:
    return None if value is None else str(value)[:CLIPPED]
