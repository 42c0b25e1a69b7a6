"""Steps on texts. What a text becomes depends on it alone, so each different text of a batch is treated once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import StepRunner, is_text, replace_columns
from deepseek.job import EngineError
from deepseek.messages import N_

PUNCTUATION = str.maketrans(
    {
        "。": ".", "、": ",", "，": ",", "；": ";", "：": ":", "？": "?", "！": "!", "（": "(", "）": ")",
        "【": "[", "】": "]", "「": '"', "」": '"', "『": '"', "』": '"', "“": '"', "”": '"', "‘": "'", "’": "'",
        "《": "<", "》": ">", "—": "-", "–": "-", "～": "~", "\u3000": " ",
    }
)  # fmt: skip
SPACES = re.compile(r"\s+")


class TextStep(StepRunner):
    """The part that all of these share."""

    heavy = True

    def bind(self, schema: pa.Schema) -> None:
        self.names = self.choose_columns(schema, is_text, "a text column", code="column_not_text")
        self.change = self.build_change()

    def build_change(self) -> Callable[[str], str | None]:
        """Build the function that converts one text; None makes it missing."""
        raise NotImplementedError

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            new = {}
            for name in self.names:
                column = batch.column(name)
                after = self.change_column(column)
                if after is not column:
                    self.count(name, count_differing(column, after))
                    new[name] = after
            yield replace_columns(batch, self.schema, new)

    def change_column(self, column: pa.Array) -> pa.Array:
        encoded = column.dictionary_encode()
        before = encoded.dictionary.to_pylist()
        after = [self.change(text) for text in before]
        if after == before:
            return column
        return pa.array(after, type=column.type).take(encoded.indices)


def count_differing(before: pa.Array, after: pa.Array) -> int:
    """How many values are not as they were."""
    unlike = pc.fill_null(pc.not_equal(before, after), False)
    return int(pc.sum(unlike).as_py() or 0) + int(after.null_count) - int(before.null_count)


class NormaliseTextStep(TextStep):
    """normalise_text"""

    def change_column(self, column: pa.Array) -> pa.Array:
        """Texts that are all plain ASCII are treated by Arrow's own kernels; others one by one."""
        if pc.all(pc.string_is_ascii(column)).as_py() is False:
            return super().change_column(column)
        encoded = column.dictionary_encode()
        if 2 * len(encoded.dictionary) > len(column):
            return self.change_ascii(column)
        return self.change_ascii(encoded.dictionary).take(encoded.indices)

    def change_ascii(self, column: pa.Array) -> pa.Array:
        """Treat plain ASCII by Arrow's own kernels."""
        after = pc.replace_substring_regex(column, r"[\s\x1c-\x1f\x0b]+", " ") if self.step.collapse else column
        if self.step.trim:
            after = pc.ascii_trim_whitespace(pc.ascii_trim(after, "\x1c\x1d\x1e\x1f \t\n\r\v\f"))
        if self.step.case != "keep":
            after = pc.ascii_lower(after) if self.step.case == "lower" else pc.ascii_upper(after)
        if self.step.empty:
            after = pc.if_else(pc.equal(after, ""), pa.scalar(None, after.type), after)
        return after

    def build_change(self) -> Callable[[str], str | None]:
        step = self.step

        def change(text: str) -> str | None:
            if step.unicode != "none":
                text = unicodedata.normalize(step.unicode, text)
            if step.punctuation:
                text = text.translate(PUNCTUATION)
            if step.collapse:
                text = SPACES.sub(" ", text)
            if step.trim:
                text = text.strip()
            if step.case != "keep":
                text = text.lower() if step.case == "lower" else text.upper()
            return None if step.empty and not text else text

        return change


class ReplaceTextStep(TextStep):
    """replace_text"""

    def build_change(self) -> Callable[[str], str | None]:
        if self.step.pattern:
            try:
                pc.replace_substring_regex(pa.array(["a"]), self.step.find, self.step.put)
            except (pa.ArrowException, ValueError) as error:
                raise EngineError(
                    "bad_pattern",
                    "The pattern cannot be read: {splitlines}",
                    splitlines=str(error).splitlines()[0][:200],
                    field=self.get_pointer("find"),
                    value=self.step.find[:200],
                    limit="a regular expression of RE2",
                    hint=N_("Put a backslash before characters that are meant literally."),
                ) from error
        return str

    def change_column(self, column: pa.Array) -> pa.Array:
        replace = pc.replace_substring_regex if self.step.pattern else pc.replace_substring
        return replace(column, self.step.find, self.step.put)
