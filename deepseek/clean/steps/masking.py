"""mask: personal data hidden in texts, and in numbers by their decimal digits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from deepseek.clean.float_fill import EXACT_INTEGER
from deepseek.clean.personal_data import Hider
from deepseek.clean.steps.base import StepRunner, change_types, is_number, is_text, replace_columns
from deepseek.clean.steps.casting import format_decimals
from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.partitions.rounds import Round, Rounds
from deepseek.tables.batches import Batches
from deepseek.tables.streams import select_columns

KEY_SLOT = "pseudonym_key"
"""The input that holds the project's key, at least 16 bytes: never in a spec, for a spec is shown, logged and kept."""
MIN_HIDDEN_NUMBER = 10**10
"""No phone, and no card, is a smaller number."""


MaskedCells = tuple[set[str], dict[str, int]]
"""Columns of numbers that must become text, and by column the cells that stay as they are."""


class MaskStep(StepRunner):
    """mask: a first pass over columns of numbers tells which must become text, for what hides them is no number."""

    scope = "global"
    passes = True
    heavy = True
    texts: Collection[str] = ()

    def bind(self, schema: pa.Schema) -> None:
        self.hider = self._build_hider()
        self.names = self.choose_columns(schema, can_hide, "a column of texts or numbers", "column_not_text")

    def rounds(self) -> Rounds[None]:
        """Settle the types, and tell of cells that stay where a column was named for its names of persons."""
        numbers = {name for name in self.names if is_number(self.source_schema.field(name).type)}
        warns = self.step.columns is not None and "name" in self.step.what and self.step.rest == "leave"
        names = [name for name in self.names if warns or name in numbers]
        if names:
            yield Round(lambda source: self._scan_cells(source, names, numbers, warns), merge_cells, self._accept_cells)
        self.schema = change_types(self.source_schema, dict.fromkeys(self.texts, pa.string()))
        for name in names:
            if name in self.texts:
                self.context.warnings.append(f"Column {name!r} became text: what hides its numbers is no such number.")
            if warns and self.staying[name]:
                count = self.staying[name]
                cells = "1 cell stays as it is" if count == 1 else f"{count:,} cells stay as they are"
                self.context.warnings.append(
                    f"Column {name!r}: {cells}, for nothing to hide was found; see Other cells."
                )

    def _accept_cells(self, shared: MaskedCells, _: None) -> None:
        self.texts, self.staying = shared

    def _build_hider(self) -> Hider:
        key = self.context.key
        if self.step.how == "pseudonym" and (key is None or len(key) < 16):
            raise EngineError(
                "no_pseudonym_key",
                Message("Pseudonyms need the project's key, and none was given.")
                if key is None
                else Message("The key is too short."),
                field=self.get_pointer("how"),
                value="pseudonym",
                limit="a file with a key of at least 16 bytes",
                hint=N_(
                    "On the command line: --pseudonym-key-file FILE, made by `head -c 32 /dev/urandom > "
                    "FILE`; or mask with asterisks."
                ),
            )
        return Hider(self.step.what, self.step.how, key)

    def _scan_cells(self, source: Batches, names: list[str], numbers: set[str], warns: bool) -> MaskedCells:
        texts, left = set(), dict.fromkeys(names, 0)
        for batch in select_columns(source, names):
            for name in names:
                column = batch.column(name)
                encoded = column.dictionary_encode()
                new = self._hide_values(encoded.dictionary)
                if name in numbers and not all(
                    hidden is None or is_exact_number(hidden, column.type) for hidden in new
                ):
                    texts.add(name)
                if warns:
                    stay = [
                        hidden is None and value != ""
                        for hidden, value in zip(new, encoded.dictionary.to_pylist(), strict=True)
                    ]
                    left[name] += count_rows(stay, encoded.indices)
        return texts, left

    def _hide_values(self, values: pa.Array) -> list[str | None]:
        """What becomes of each of these values; None where it stays."""
        if is_text(values.type):
            return [self._hide_text(text) for text in values.to_pylist()]
        texts = format_decimals(values).to_pylist()
        if self.step.rest == "hide":
            return [self._hide_text(text) for text in texts]
        large = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) >= MIN_HIDDEN_NUMBER
        return [self._hide_text(text) if is_large else None for text, is_large in zip(texts, large, strict=True)]

    def _hide_text(self, text: str | None) -> str | None:
        if not text:
            return None
        hidden = self.hider.hide(text)
        return self.hider.hide_whole(text) if hidden is None and self.step.rest == "hide" else hidden

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield replace_columns(
                batch, self.schema, {name: self._hide_column(name, batch.column(name)) for name in self.names}
            )

    def _hide_column(self, name: str, column: pa.Array) -> pa.Array:
        kind = self.schema.field(name).type
        encoded = column.dictionary_encode()
        values = encoded.dictionary
        new = self._hide_values(values)
        self.count(name, count_rows([hidden is not None for hidden in new], encoded.indices))
        if is_text(kind) and not is_text(values.type):
            values = format_decimals(values)
        elif all(hidden is None for hidden in new):
            return column
        put_in = [hidden if hidden is None or is_text(kind) else int(hidden) for hidden in new]
        after = [old if hidden is None else hidden for old, hidden in zip(values.to_pylist(), put_in, strict=True)]
        return pa.array(after, type=kind).take(encoded.indices)


def merge_cells(states: Sequence[MaskedCells], _: Any) -> tuple[MaskedCells, list[None]]:
    """What all partitions together have."""
    texts: set[str] = set()
    staying: Counter[str] = Counter()
    for own_texts, own_staying in states:
        texts |= own_texts
        staying.update(own_staying)
    return (texts, dict(staying)), [None] * len(states)


def can_hide(kind: pa.DataType) -> bool:
    return is_text(kind) or is_number(kind)


def count_rows(which: list[bool], indices: pa.Array) -> int:
    """How many rows hold one of the values that are true here."""
    return int(np.array(which)[indices.drop_null().to_numpy()].sum()) if any(which) else 0


def is_exact_number(text: str, kind: pa.DataType) -> bool:
    """Whether a number of this type is written so, and keeps every digit."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0"):
        return False
    dtype = np.dtype(kind.to_pandas_dtype())
    if pa.types.is_integer(kind):
        return bool(np.iinfo(dtype).min <= int(text) <= np.iinfo(dtype).max)
    return int(text) <= EXACT_INTEGER and int(dtype.type(int(text))) == int(text)
