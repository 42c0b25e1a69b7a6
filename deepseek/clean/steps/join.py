"""join: columns of a second table, which is held in memory; the first is streamed past it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import StepRunner, is_number, placed, visible
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.batches import Batches
from deepseek.tables.streams import merge_into_batch, select_columns

SLOT = "join"
LARGEST = 512 * 2**20
"""Bytes of the second table's columns, at most."""
Codes = npt.NDArray[np.int64]


class Join(StepRunner):
    """join: every key of the second table has a number; a row's partners are found by bisection among them."""

    heavy = True

    def prepare(self, source: Batches) -> None:
        second = self._second()
        here, there = self.step.on, self.step.right_on or self.step.on
        for place, name in enumerate(here):
            self.need(source.schema, name, "on", place)
        field = "right_on" if self.step.right_on else "on"
        for place, name in enumerate(there):
            self.need(second.schema, name, field, place)
        names = self._taken(second.schema, there)
        self.right = self._read(second, [*dict.fromkeys([*there, *names])])
        pairs = enumerate(zip(here, there, strict=True))
        self.values = [self._values(source.schema.field(one).type, other, place) for place, (one, other) in pairs]
        self.pairs: list[Codes] = []
        codes = self._codes([self.right.column(name) for name in there], learn=True)
        known = np.flatnonzero(codes >= 0)
        order = known[np.argsort(codes[known], kind="stable")]
        self.order, self.sorted = order, codes[order]
        if not self.step.many:
            self._refuse_duplicates(there)
        fields = [source.schema.field(name) for name in visible(source.schema)]
        self.names = []
        for name in names:
            new = name if name not in visible(source.schema) else name + self.step.suffix
            self.free(pa.schema(fields), new, "suffix")
            fields.append(pa.field(new, self.right.schema.field(name).type))
            self.names.append((name, new))
        self.schema = placed(source.schema, fields)

    def _second(self) -> Batches:
        if self.around.second is None:
            raise EngineError(
                "no_second_table",
                "The step joins a second table, and none was given.",
                field=self.around.pointer,
                limit="an input in the slot join",
                hint=N_("Fill the input join; on the command line: --join FILE."),
            )
        return self.around.second()

    def _taken(self, schema: pa.Schema, keys: list[str]) -> list[str]:
        if self.step.take is None:
            return [name for name in schema.names if name not in keys]
        for place, name in enumerate(self.step.take):
            self.need(schema, name, "take", place)
        return list(self.step.take)

    def _read(self, second: Batches, names: list[str]) -> pa.RecordBatch:
        held, size = [], 0
        part = select_columns(second, names)
        for batch in part:
            held.append(batch)
            size += batch.nbytes
            if size > LARGEST:
                raise EngineError(
                    "join_too_large",
                    "The second table's columns take more than {largest} MiB.",
                    largest=LARGEST // 2**20,
                    field="inputs/join",
                    limit=f"{LARGEST // 2**20} MiB",
                    hint=N_("Take fewer of its columns, or clean it first to the rows that are needed."),
                )
        return merge_into_batch(pa.Table.from_batches(held, part.schema))

    def _values(self, kind: pa.DataType, name: str, place: int) -> pa.Array:
        """The different keys of the second table, in the type of the first."""
        found = pc.unique(self.right.column(name)).drop_null()
        if found.type != kind and is_number(found.type) and is_number(kind):
            return found
        if found.type != kind:
            raise EngineError(
                "join_key_type",
                "The key {name!r} of the second table is of type {found_type}, here it is {kind}.",
                name=name,
                found_type=found.type,
                kind=kind,
                field=self.at("on", place),
                value=str(found.type),
                limit=str(kind),
                hint=N_("Cast the key in a step before this one."),
            )
        return found

    def _codes(self, columns: list[pa.Array], *, learn: bool = False) -> Codes:
        """A number for each row's keys, -1 where one is missing or unknown; `learn`: these are the second table's.

        From the third key on, the numbers of the keys before it are first numbered anew by the places of those that
        stand in the second table: products of more than two sizes may be too large for 64 bits.
        """
        codes: Codes = np.zeros(len(columns[0]), dtype=np.int64)
        known = np.ones(len(columns[0]), dtype=bool)
        for place, (column, values) in enumerate(zip(columns, self.values, strict=True)):
            if column.type != values.type:
                column, values = column.cast(pa.float64(), safe=False), values.cast(pa.float64(), safe=False)
            places = pc.index_in(column, value_set=values, skip_nulls=True)
            known &= places.is_valid().to_numpy(zero_copy_only=False)
            if place > 1:
                if learn:
                    self.pairs.append(np.unique(codes[known]))
                pairs = self.pairs[place - 2]
                rows = np.searchsorted(pairs, codes)
                known &= np.append(pairs, -1)[rows] == codes
                codes = rows.astype(np.int64, copy=False)
            codes = codes * (len(values) + 1) + pc.fill_null(places, 0).to_numpy(zero_copy_only=False)
        return np.where(known, codes, -1)

    def _refuse_duplicates(self, keys: list[str]) -> None:
        twice = np.flatnonzero(self.sorted[1:] == self.sorted[:-1])
        if not twice.size:
            return
        rows = sorted((int(self.order[twice[0]]), int(self.order[twice[0] + 1])))
        first, second = rows[0] + 1, rows[1] + 1
        told = ", ".join(str(self.right.column(name)[rows[0]].as_py()) for name in keys)
        told = self.quoted([*self.step.on, *keys], told)  # a key of this table is one of the other
        raise EngineError(
            "duplicate_keys",
            "The key {told!r} stands in row {first} and in row {second} of the second table.",
            told=told[:100],
            first=first,
            second=second,
            field=self.at("on"),
            value=told[:200],
            limit="every key once, unless the step says that a row may have several partners",
            hint=N_("Deduplicate the second table first, or set many."),
        )

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            codes = self._codes([batch.column(name) for name in self.step.on])
            begin = np.searchsorted(self.sorted, codes, side="left")
            count = np.searchsorted(self.sorted, codes, side="right") - begin
            lone = count == 0
            if self.step.how == "left":
                count = np.maximum(count, 1)
            left = np.repeat(np.arange(batch.num_rows), count)
            nth = np.arange(left.size) - np.repeat(np.cumsum(count) - count, count)
            partner = np.full(left.size, -1)
            found = ~lone[left]
            partner[found] = self.order[begin[left][found] + nth[found]]
            take = pa.array(partner, mask=partner < 0)
            rows = batch if (count == 1).all() else batch.take(pa.array(left))
            new = {there: self.right.column(name).take(take) for name, there in self.names}
            arrays = [new[name] if name in new else rows.column(name) for name in self.schema.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)
