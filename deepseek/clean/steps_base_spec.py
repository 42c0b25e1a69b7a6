"""What the steps of a plan share in their specs: words for fields of columns, and what none of them allows. Light."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepseek.tables.spec import refuse_repeats

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]
NUMERIC, TEXT = "The numeric columns to treat; empty for every numeric column.", "The text columns; empty for all."
ACTIONS = {
    "flag": "add a true/false column",
    "cap": "move to the nearest allowed value",
    "blank": "make missing",
}


def build_optional_columns(text: str) -> Any:
    """A field of columns that may be left empty for all that fit."""
    return Field(None, min_length=1, max_length=10_000, title="Columns", description=text)


def build_required_columns(title: str, text: str) -> Any:
    """A field of columns of which at least one must be named."""
    return Field(min_length=1, max_length=10_000, title=title, description=text)


def build_choice_words(**choices: str) -> dict[str, Any]:
    return {"words": choices}


class Step(BaseModel):
    """What all steps share: no field beyond those named, and none that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OnColumns(Step):
    _once = field_validator("columns", check_fields=False)(refuse_repeats)
