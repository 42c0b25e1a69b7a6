"""join: columns of a second table, which is held in memory; the first is streamed past it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import StepRunner, build_schema, is_number, list_visible_columns
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.batches import Batches
from deepseek.tables.streams import merge_into_batch, select_columns

SLOT = "join"
MAX_SECOND_TABLE_BYTES = 512 * 2**20
"""Bytes of the second table's columns, at most."""
Codes = npt.NDArray[np.int64]


class JoinStep(StepRunner):
    """join: every key of the second table has a number; a row's partners are found by bisection among them."""

    heavy = True

    def bind(self, schema: pa.Schema) -> None:
        second = self._open_second_table()
        left_keys, right_keys = self.step.on, self.step.right_on or self.step.on
        for place, name in enumerate(left_keys):
            self.require_column(schema, name, "on", place)
        field = "right_on" if self.step.right_on else "on"
        for place, name in enumerate(right_keys):
            self.require_column(second.schema, name, field, place)
        names = self._choose_taken_columns(second.schema, right_keys)
        self.right = self._read_second_table(second, [*dict.fromkeys([*right_keys, *names])])
        pairs = enumerate(zip(left_keys, right_keys, strict=True))
        self.values = [
            self._list_key_values(schema.field(name).type, right_name, place) for place, (name, right_name) in pairs
        ]
        self.pairs: list[Codes] = []
        codes = self._encode_keys([self.right.column(name) for name in right_keys], learn=True)
        known_rows = np.flatnonzero(codes >= 0)
        order = known_rows[np.argsort(codes[known_rows], kind="stable")]
        self.order, self.sorted = order, codes[order]
        if not self.step.many:
            self._refuse_duplicates(right_keys)
        fields = [schema.field(name) for name in list_visible_columns(schema)]
        self.names = []
        for name in names:
            new = name if name not in list_visible_columns(schema) else name + self.step.suffix
            self.require_free_name(pa.schema(fields), new, "suffix")
            fields.append(pa.field(new, self.right.schema.field(name).type))
            self.names.append((name, new))
        self.schema = build_schema(schema, fields)

    def _open_second_table(self) -> Batches:
        if self.context.second is None:
            raise EngineError(
                "no_second_table",
                "The step joins a second table, and none was given.",
                field=self.context.pointer,
                limit="an input in the slot join",
                hint=N_("Fill the input join; on the command line: --join FILE."),
            )
        return self.context.second()

    def _choose_taken_columns(self, schema: pa.Schema, keys: list[str]) -> list[str]:
        if self.step.take is None:
            return [name for name in schema.names if name not in keys]
        for place, name in enumerate(self.step.take):
            self.require_column(schema, name, "take", place)
        return list(self.step.take)

    def _read_second_table(self, second: Batches, names: list[str]) -> pa.RecordBatch:
        batches, size = [], 0
        part = select_columns(second, names)
        for batch in part:
            batches.append(batch)
            size += batch.nbytes
            if size > MAX_SECOND_TABLE_BYTES:
                raise EngineError(
                    "join_too_large",
                    "The second table's columns take more than {largest} MiB.",
                    largest=MAX_SECOND_TABLE_BYTES // 2**20,
                    field="inputs/join",
                    limit=f"{MAX_SECOND_TABLE_BYTES // 2**20} MiB",
                    hint=N_("Take fewer of its columns, or clean it first to the rows that are needed."),
                )
        return merge_into_batch(pa.Table.from_batches(batches, part.schema))

    def _list_key_values(self, kind: pa.DataType, name: str, place: int) -> pa.Array:
        """The different keys of the second table, in the type of the first."""
        values = pc.unique(self.right.column(name)).drop_null()
        if values.type != kind and is_number(values.type) and is_number(kind):
            return values
        if values.type != kind:
            raise EngineError(
                "join_key_type",
                "The key {name!r} of the second table is of type {found_type}, here it is {kind}.",
                name=name,
                found_type=values.type,
                kind=kind,
                field=self.get_pointer("on", place),
                value=str(values.type),
                limit=str(kind),
                hint=N_("Cast the key in a step before this one."),
            )
        return values

    def _encode_keys(self, columns: list[pa.Array], *, learn: bool = False) -> Codes:
        """A number for each row's keys, -1 where one is missing or unknown; `learn`: these are the second table's.

        From the third key on, the numbers of the keys before it are first numbered anew by the places of those that
        stand in the second table: products of more than two sizes may be too large for 64 bits.
        """
        codes: Codes = np.zeros(len(columns[0]), dtype=np.int64)
        is_known = np.ones(len(columns[0]), dtype=bool)
        for place, (column, values) in enumerate(zip(columns, self.values, strict=True)):
            if column.type != values.type:
                column, values = column.cast(pa.float64(), safe=False), values.cast(pa.float64(), safe=False)
            places = pc.index_in(column, value_set=values, skip_nulls=True)
            is_known &= places.is_valid().to_numpy(zero_copy_only=False)
            if place > 1:
                if learn:
                    self.pairs.append(np.unique(codes[is_known]))
                pairs = self.pairs[place - 2]
                rows = np.searchsorted(pairs, codes)
                is_known &= np.append(pairs, -1)[rows] == codes
                codes = rows.astype(np.int64, copy=False)
            codes = codes * (len(values) + 1) + pc.fill_null(places, 0).to_numpy(zero_copy_only=False)
        return np.where(is_known, codes, -1)

    def _refuse_duplicates(self, keys: list[str]) -> None:
        twice = np.flatnonzero(self.sorted[1:] == self.sorted[:-1])
        if not twice.size:
            return
        rows = sorted((int(self.order[twice[0]]), int(self.order[twice[0] + 1])))
        first, second = rows[0] + 1, rows[1] + 1
        keys_text = ", ".join(str(self.right.column(name)[rows[0]].as_py()) for name in keys)
        keys_text = self.quote_value([*self.step.on, *keys], keys_text)  # a key of this table is one of the other
        raise EngineError(
            "duplicate_keys",
            "The key {told!r} stands in row {first} and in row {second} of the second table.",
            told=keys_text[:100],
            first=first,
            second=second,
            field=self.get_pointer("on"),
            value=keys_text[:200],
            limit="every key once, unless the step says that a row may have several partners",
            hint=N_("Deduplicate the second table first, or set many."),
        )

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            codes = self._encode_keys([batch.column(name) for name in self.step.on])
            begin = np.searchsorted(self.sorted, codes, side="left")
            count = np.searchsorted(self.sorted, codes, side="right") - begin
            lone = count == 0
            if self.step.how == "left":
                count = np.maximum(count, 1)
            left = np.repeat(np.arange(batch.num_rows), count)
            nth = np.arange(left.size) - np.repeat(np.cumsum(count) - count, count)
            partner = np.full(left.size, -1)
            has_partner = ~lone[left]
            partner[has_partner] = self.order[begin[left][has_partner] + nth[has_partner]]
            take = pa.array(partner, mask=partner < 0)
            rows = batch if (count == 1).all() else batch.take(pa.array(left))
            new = {new_name: self.right.column(name).take(take) for name, new_name in self.names}
            arrays = [new[name] if name in new else rows.column(name) for name in self.schema.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)
