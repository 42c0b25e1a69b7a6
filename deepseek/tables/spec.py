"""The spec of reading one table. Light to import: the web process reads it."""

from collections import Counter
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticKnownError

from deepseek.spec_errors import build_spec_error
from deepseek.tables.csv_dialect import AUTO, is_delimiter
from deepseek.tables.csv_dtypes import DEFAULT_MISSING

MissingToken = Annotated[str, Field(max_length=100)]
Names = TypeVar("Names", list[str], list[str] | None)


def refuse_repeats(values: Names) -> Names:
    """Return `values`, or raise a spec error if one is repeated. None, a field left out, has no repeats."""
    repeated = sorted(value for value, times in Counter(values or ()).items() if times > 1)
    if repeated:
        raise build_spec_error("repeated", "{value} is named more than once.", value=repr(repeated[0]))
    return values


class CsvSpec(BaseModel):
    """How to read the table if it is text. A Parquet, Arrow or JSON lines file needs none of this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: str = Field(
        ",",
        min_length=1,
        max_length=4,
        title="Delimiter",
        description="The one ASCII character between the cells of a row, or auto to find it in the file.",
    )
    encoding: Literal["utf-8", "gb18030", "auto"] = Field(
        "utf-8",
        title="Encoding",
        description="The character encoding of the file, or auto to find it; gb18030 also reads GBK and GB2312.",
    )
    missing_tokens: list[MissingToken] = Field(
        default=list(DEFAULT_MISSING),
        max_length=100,
        title="Missing tokens",
        description="Cells with exactly one of these texts count as missing, in every column.",
    )

    @field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, delimiter: str) -> str:
        if delimiter == AUTO:
            return delimiter
        if len(delimiter) != 1:
            raise PydanticKnownError("string_too_long", {"max_length": 1})
        if not is_delimiter(delimiter):
            raise build_spec_error(
                "delimiter",
                "The delimiter must be auto, or an ASCII character but no letter, digit, quote or line end.",
            )
        return delimiter

    _no_repeats = field_validator("missing_tokens")(refuse_repeats)
