"""The typed steps of a cleaning plan: what each may say. Light to import: the web process reads it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from deepseek.clean.expression import ExpressionError, parse_expression
from deepseek.clean.steps_base_spec import (
    TEXT,
    ColumnName,
    OnColumns,
    Step,
    build_choice_words,
    build_optional_columns,
    build_required_columns,
)
from deepseek.clean.steps_numbers_spec import (
    DropMissing,
    FillBackward,
    FillConstant,
    FillForward,
    FillGroup,
    FillLinear,
    FillMedian,
    Hampel,
    Outliers,
)
from deepseek.spec_errors import build_spec_error


# -- types and units ------------------------------------------------------------------------------------------------
class Cast(OnColumns):
    """Give columns another type."""

    kind: Literal["cast"] = Field(title="Change the type")
    columns: list[ColumnName] = build_required_columns("Columns", "The columns to convert.")
    to: Literal["integer", "number", "boolean", "text", "date", "timestamp"] = Field(
        title="To", description="The type that the columns get."
    )
    format: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        title="Format",
        description="Of dates and times as text, such as %Y-%m-%d or %d.%m.%Y %H:%M:%S; empty for ISO 8601.",
    )
    unfit: Literal["refuse", "blank"] = Field(
        "refuse",
        title="Unfit values",
        description="What becomes of a value that does not fit the type.",
        json_schema_extra=build_choice_words(refuse="stop and name the row", blank="make missing"),
    )


class Convert(OnColumns):
    """Convert units: multiply, then add."""

    kind: Literal["convert"] = Field(title="Convert units")
    columns: list[ColumnName] = build_required_columns("Columns", "The numeric columns to convert.")
    multiply: float = Field(1.0, allow_inf_nan=False, title="Multiply by", description=("Factor, applied first."))
    add: float = Field(0.0, allow_inf_nan=False, title="Add", description="What is added to the product.")
    from_unit: str = Field("", max_length=40, title="From unit", description="For the record, such as bbl.")
    to_unit: str = Field("", max_length=40, title="To unit", description="For the record, such as m³.")


# -- rows -----------------------------------------------------------------------------------------------------------
class Deduplicate(OnColumns):
    """Keep one of the rows that are equal."""

    kind: Literal["deduplicate"] = Field(title="Drop duplicates")
    columns: list[ColumnName] | None = build_optional_columns(
        "Rows that are equal in these columns are duplicates; empty for all columns."
    )
    keep: Literal["first", "last"] = Field("first", title="Keep", description="Which of them stays.")


Operator = Literal[
    "eq", "ne", "lt", "le", "gt", "ge", "contains", "starts_with", "ends_with", "is_missing", "is_present"
]


class Condition(Step):
    """One comparison of a column with a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Comparison")

    column: ColumnName = Field(title="Column", description="The column that is looked at.")
    op: Operator = Field(
        "eq",
        title="Comparison",
        description="How its value and the value given must stand. A missing value fulfils only is_missing.",
        json_schema_extra=build_choice_words(
            eq="=",
            ne="≠",
            lt="<",
            le="≤",
            gt=">",
            ge="≥",
            contains="has this text in it",
            starts_with="begins with",
            ends_with="ends with",
            is_missing="has no value",
            is_present="has a value",
        ),
    )
    value: str = Field("", max_length=1000, title="Value", description="Written as in a CSV file.")


class Filter(Step):
    """Keep the rows that fulfil conditions."""

    kind: Literal["filter"] = Field(title="Keep rows that fulfil conditions")
    conditions: list[Condition] = Field(
        min_length=1, max_length=50, title="Conditions", description="What a row must fulfil to stay."
    )
    match: Literal["all", "any"] = Field(
        "all",
        title="Match",
        description="Whether all conditions must hold, or any.",
        json_schema_extra=build_choice_words(all="every condition", any="at least one"),
    )


class Regularise(Step):
    """Bring a series to a fixed frequency: one row for each interval, missing where nothing was measured."""

    kind: Literal["regularise"] = Field(title="Fixed frequency")
    column: ColumnName = Field(title="Time column", description="Dates or times, ascending.")
    every: int = Field(
        1, ge=1, le=1_000_000, title="Every", description="The length of an interval, in the unit below."
    )
    unit: Literal["second", "minute", "hour", "day", "week"] = Field(
        "day", title="Unit", description="The unit of the interval; intervals are counted from 1970-01-01, a Thursday."
    )
    aggregate: Literal["mean", "median", "sum", "min", "max", "first", "last"] = Field(
        "mean",
        title="Aggregate",
        description="What several numbers of one interval become; of other columns the first value counts, "
        "or with last the last.",
    )
    insert: bool = Field(
        True, title="Insert rows", description="Whether an interval without a row gets one, with missing values."
    )


class Join(Step):
    """Add the columns of a second table, the input join, where keys are equal."""

    kind: Literal["join"] = Field(title="Join a second table")
    on: list[ColumnName] = build_required_columns("Keys", "The columns that must be equal in both tables.")
    right_on: list[ColumnName] | None = Field(
        None,
        min_length=1,
        title="Keys there",
        description="What the keys are called in the second table; empty: the same.",
    )
    how: Literal["left", "inner"] = Field(
        "left",
        title="How",
        description="What becomes of a row without a partner.",
        json_schema_extra=build_choice_words(left="it stays, with missing values", inner="dropped"),
    )
    take: list[ColumnName] | None = Field(
        None, min_length=1, title="Take", description="The columns of the second table that are added; empty for all."
    )
    suffix: str = Field(
        "_right", min_length=1, max_length=40, title="Suffix", description=("Suffix for a name that exists already.")
    )
    many: bool = Field(
        False, title="One to many", description="Whether a row may have several partners, and becomes as many rows."
    )

    @field_validator("right_on")
    @classmethod
    def _check_key_count(cls, right: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if right is not None and len(right) != len(info.data.get("on") or ()):
            raise build_spec_error("as_many", "There must be as many keys there as here.")
        return right


# -- columns --------------------------------------------------------------------------------------------------------
class Renamed(Step):
    """One new name."""

    column: ColumnName = Field(title="Column", description="The name now.")
    name: ColumnName = Field(title="New name", description="The name from here on.")


class Rename(Step):
    """Rename columns."""

    kind: Literal["rename"] = Field(title="Rename columns")
    names: list[Renamed] = Field(
        min_length=1, max_length=10_000, title="Names", description="Which columns get which names."
    )


class Keep(OnColumns):
    """Keep only some columns, in this order."""

    kind: Literal["keep"] = Field(title="Keep columns")
    columns: list[ColumnName] = build_required_columns("Columns", "The columns that stay, in their new order.")


class Drop(OnColumns):
    """Drop columns."""

    kind: Literal["drop"] = Field(title="Drop columns")
    columns: list[ColumnName] = build_required_columns("Columns", "The columns that go.")


class Derive(Step):
    """Compute a column from others."""

    kind: Literal["derive"] = Field(title="Compute a column")
    name: ColumnName = Field(title="Name", description=("Name of the new column; an existing column is replaced."))
    expression: str = Field(
        min_length=1,
        max_length=1000,
        title="Expression",
        description="Arithmetic on columns: + - * / **, ( and ), abs, sqrt, log, exp, round, floor, ceil, min, max; "
        "names with spaces or signs in them stand between backticks. Where an operand is missing, or the result is no "
        "finite number, the result is missing.",
    )

    @field_validator("expression")
    @classmethod
    def _check_expression(cls, text: str) -> str:
        try:
            parse_expression(text)
        except ExpressionError as error:
            raise build_spec_error("expression", "{why}", why=str(error)) from None
        return text


# -- text -----------------------------------------------------------------------------------------------------------
class NormaliseText(OnColumns):
    """Bring texts to one form."""

    kind: Literal["normalise_text"] = Field(title="Normalise text")
    columns: list[ColumnName] | None = build_optional_columns(TEXT)
    unicode: Literal["NFKC", "NFC", "none"] = Field(
        "NFKC",
        title="Unicode form",
        description="NFKC also makes full-width letters and digits half-width.",
        json_schema_extra=build_choice_words(
            NFKC="compatible characters become one", NFC="composed", none="keep as is"
        ),
    )
    trim: bool = Field(True, title="Trim", description="Take away spaces at both ends.")
    collapse: bool = Field(
        True, title="Collapse spaces", description="Make one space of several, of tabs and line ends."
    )
    case: Literal["keep", "lower", "upper"] = Field("keep", title="Case", description="Of letters that have one.")
    punctuation: bool = Field(
        False, title="Half-width punctuation", description="Make Chinese punctuation, such as 。、「」, ASCII."
    )
    empty: bool = Field(True, title="Empty is missing", description="Make a text of which nothing is left missing.")


class ReplaceText(OnColumns):
    """Replace a text, or a pattern, in texts."""

    kind: Literal["replace_text"] = Field(title="Replace text")
    columns: list[ColumnName] | None = build_optional_columns(TEXT)
    find: str = Field(min_length=1, max_length=500, title="Find", description=("Text to replace, wherever it occurs."))
    put: str = Field("", max_length=500, title="Put", description="Replacement; empty removes it.")
    pattern: bool = Field(
        False, title="Pattern", description="Whether it is a regular expression, as RE2 knows them; \\1 puts a group."
    )


KINDS_OF_DATA = build_choice_words(
    id_card="Chinese identity cards", phone="mobile phones", bank_card="bank cards", name="names of persons"
)


class Mask(OnColumns):
    """Hide personal data in texts and numbers."""

    kind: Literal["mask"] = Field(title="Hide personal data")
    columns: list[ColumnName] | None = build_optional_columns("The columns of texts or numbers; empty for all.")
    what: list[Annotated[Literal["id_card", "phone", "bank_card", "name"], Field(json_schema_extra=KINDS_OF_DATA)]] = (
        Field(
            default=["id_card", "phone", "bank_card"],
            min_length=1,
            title="What",
            description="What is looked for, wherever it stands in a text, or as a number: identity cards and bank "
            "cards with a valid check digit, mobile phones; a name only where it is the text.",
        )
    )
    how: Literal["mask", "pseudonym"] = Field(
        "mask",
        title="How",
        description="Put asterisks, or put another value of the same form, the same for the same value in a project, "
        "which nobody can lead back without the project's key.",
        json_schema_extra=build_choice_words(mask="asterisks", pseudonym="another value of the same form"),
    )
    rest: Literal["leave", "hide"] = Field(
        "leave",
        title="Other cells",
        description="What becomes of a cell in which nothing of this is found, such as a name with a rare surname. "
        "They can be hidden only in columns that are named.",
        json_schema_extra=build_choice_words(leave="leave them as they are", hide="hide completely"),
    )

    @field_validator("rest")
    @classmethod
    def _check_rest(cls, rest: str, info: ValidationInfo) -> str:
        if rest == "hide" and info.data.get("columns", "") is None:
            raise build_spec_error("columns_needed", "Name the columns whose cells are all to be hidden.")
        return rest


AnyStep = Annotated[
    FillMedian
    | FillForward
    | FillBackward
    | FillLinear
    | FillConstant
    | FillGroup
    | DropMissing
    | Outliers
    | Hampel
    | Cast
    | Convert
    | Deduplicate
    | Filter
    | Regularise
    | Join
    | Rename
    | Keep
    | Drop
    | Derive
    | NormaliseText
    | ReplaceText
    | Mask,
    Field(discriminator="kind"),
]
"""One step of a plan, told apart by `kind`."""

ROW_KINDS = frozenset({"drop_missing", "deduplicate", "filter", "regularise", "join"})
"""Steps after which a row may stand at another place, or be gone."""
