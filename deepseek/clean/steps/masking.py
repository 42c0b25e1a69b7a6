"""mask: personal data hidden in texts, and in numbers by their decimal digits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from deepseek.clean.median_fill import EXACT_INTEGER
from deepseek.clean.personal_data import Hider
from deepseek.clean.steps.base import StepRunner, is_number, is_text, put, retyped
from deepseek.clean.steps.casting import decimal_texts
from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.tables.batches import Batches
from deepseek.tables.streams import select_columns

KEY_SLOT = "pseudonym_key"
"""The input that holds the project's key, at least 16 bytes: never in a spec, for a spec is shown, logged and kept."""
LEAST = 10**10
"""No phone, and no card, is a smaller number."""


class Mask(StepRunner):
    """mask: a first pass over columns of numbers tells which must become text, for what hides them is no number."""

    passes = True
    heavy = True

    def prepare(self, source: Batches) -> None:
        self.hider = self._hider()
        self.names = self.chosen(source.schema, can_hide, "a column of texts or numbers", "column_not_text")
        self._look(source)

    def _hider(self) -> Hider:
        key = self.around.key
        if self.step.how == "pseudonym" and (key is None or len(key) < 16):
            raise EngineError(
                "no_pseudonym_key",
                Message("Pseudonyms need the project's key, and none was given.")
                if key is None
                else Message("The key is too short."),
                field=self.at("how"),
                value="pseudonym",
                limit="a file with a key of at least 16 bytes",
                hint=N_(
                    "On the command line: --pseudonym-key-file FILE, made by `head -c 32 /dev/urandom > "
                    "FILE`; or mask with asterisks."
                ),
            )
        return Hider(self.step.what, self.step.how, key)

    def _look(self, source: Batches) -> None:
        """Settle the types, and tell of cells that stay where a column was named for its names of persons."""
        numbers = {name for name in self.names if is_number(source.schema.field(name).type)}
        told = self.step.columns is not None and "name" in self.step.what and self.step.rest == "leave"
        names = [name for name in self.names if told or name in numbers]
        texts, left = set(), dict.fromkeys(names, 0)
        for batch in select_columns(source, names) if names else ():
            for name in names:
                column = batch.column(name)
                encoded = column.dictionary_encode()
                new = self._new(encoded.dictionary)
                if name in numbers and not all(one is None or fits(one, column.type) for one in new):
                    texts.add(name)
                if told:
                    stay = [
                        one is None and value != ""
                        for one, value in zip(new, encoded.dictionary.to_pylist(), strict=True)
                    ]
                    left[name] += rows_of(stay, encoded.indices)
        self.schema = retyped(source.schema, dict.fromkeys(texts, pa.string()))
        for name in names:
            if name in texts:
                self.around.warnings.append(f"Column {name!r} became text: what hides its numbers is no such number.")
            if told and left[name]:
                cells = "1 cell stays as it is" if left[name] == 1 else f"{left[name]:,} cells stay as they are"
                self.around.warnings.append(
                    f"Column {name!r}: {cells}, for nothing to hide was found; see Other cells."
                )

    def _new(self, values: pa.Array) -> list[str | None]:
        """What becomes of each of these values; None where it stays."""
        if is_text(values.type):
            return [self._one(text) for text in values.to_pylist()]
        texts = decimal_texts(values).to_pylist()
        if self.step.rest == "hide":
            return [self._one(text) for text in texts]
        large = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) >= LEAST
        return [self._one(text) if one else None for text, one in zip(texts, large, strict=True)]

    def _one(self, text: str | None) -> str | None:
        if not text:
            return None
        found = self.hider.hide(text)
        return self.hider.whole(text) if found is None and self.step.rest == "hide" else found

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield put(batch, self.schema, {name: self._hidden(name, batch.column(name)) for name in self.names})

    def _hidden(self, name: str, column: pa.Array) -> pa.Array:
        kind = self.schema.field(name).type
        encoded = column.dictionary_encode()
        values = encoded.dictionary
        new = self._new(values)
        self.count(name, rows_of([one is not None for one in new], encoded.indices))
        if is_text(kind) and not is_text(values.type):
            values = decimal_texts(values)
        elif all(one is None for one in new):
            return column
        put_in = [one if one is None or is_text(kind) else int(one) for one in new]
        after = [old if one is None else one for old, one in zip(values.to_pylist(), put_in, strict=True)]
        return pa.array(after, type=kind).take(encoded.indices)


def can_hide(kind: pa.DataType) -> bool:
    return is_text(kind) or is_number(kind)


def rows_of(which: list[bool], indices: pa.Array) -> int:
    """How many rows hold one of the values that are true here."""
    return int(np.array(which)[indices.drop_null().to_numpy()].sum()) if any(which) else 0


def fits(text: str, kind: pa.DataType) -> bool:
    """Whether a number of this type is written so, and keeps every digit."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0"):
        return False
    dtype = np.dtype(kind.to_pandas_dtype())
    if pa.types.is_integer(kind):
        return bool(np.iinfo(dtype).min <= int(text) <= np.iinfo(dtype).max)
    return int(text) <= EXACT_INTEGER and int(dtype.type(int(text))) == int(text)
