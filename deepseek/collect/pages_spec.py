"""The specs of the pages that are collected from: which addresses, how they are fetched, and what is read from them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deepseek.spec_errors import build_spec_error

COLUMNS = ("source_url", "fetched_at", "status", "digest", "page", "item")
"""What every record says of where it comes from, before its own fields."""
Selector = Annotated[str, Field(max_length=500)]

SELECTOR = "A CSS selector, or an XPath where it begins with /, ./ or (."


class FieldSpec(BaseModel):
    """One column of the records: where its value stands within an item, and what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Field")

    name: str = Field(
        pattern=r"^[^\W\d]\w*$", max_length=100, title="Name", description="Name of the column: letters, digits and _."
    )
    select: Selector = Field(
        "",
        title="Selector",
        description=f"{SELECTOR} The first place within the item that fits is read; empty for the item itself.",
    )
    type: Literal["text", "attr", "html", "number", "date"] = Field(
        "text",
        title="Type",
        description="What is taken from there: its text, one attribute, its HTML, or its text as a number or a date.",
        json_schema_extra={
            "words": {
                "text": "text, white space collapsed",
                "attr": "an attribute, unchanged",
                "html": "the HTML of the place",
                "number": "a number, its unit left out",
                "date": "a date or a time, in UTC",
            }
        },
    )
    attribute: str = Field(
        "",
        max_length=100,
        title="Attribute",
        description="The attribute to read; a number or a date is read from the text where this is empty.",
    )
    date_format: str = Field(
        "",
        max_length=100,
        title="Date format",
        description="How the date is written, such as %d/%m/%Y; empty for ISO 8601, 2026/1/31 and 2026年1月31日.",
    )
    required: bool = Field(
        False, title="Required", description="An item without a value here is left out, and counted in the report."
    )

    @model_validator(mode="after")
    def _attribute_fits_type(self) -> Self:
        if self.type == "attr" and not self.attribute:
            raise build_spec_error("needs_attribute", "The type attr needs the name of an attribute.")
        if self.type in ("text", "html") and self.attribute:
            raise build_spec_error("attribute_unused", "An attribute is read by the types attr, number and date.")
        return self

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in COLUMNS:
            raise build_spec_error("name_taken", "Every record has a column {name} already.", name=name)
        return name


class PageSpec(BaseModel):
    """What is read from pages of one sort, and how they are fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Page")

    match: str = Field(
        "",
        max_length=500,
        title="Addresses",
        description="Address patterns, * for any characters; empty for all. The first match counts.",
    )
    render: Literal["plain", "browser"] = Field(
        "plain",
        title="Fetched by",
        description="Plain fetches the HTML as the server sends it; a browser runs the page's scripts first.",
        json_schema_extra={"words": {"plain": "one request", "browser": "Chromium, scripts run"}},
    )
    wait_for: Selector = Field(
        "",
        title="Wait for",
        description="A CSS selector that must fit before a page in the browser counts as there; empty for none.",
    )
    items: Selector = Field(
        "",
        title="Items",
        description=f"{SELECTOR} Each place that fits is one record; empty where the whole page is one.",
    )
    fields: list[FieldSpec] = Field(
        default=[],
        max_length=200,
        title="Fields",
        description="The columns of the records; none for pages that are only passed through.",
    )

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.wait_for and self.render != "browser":
            raise build_spec_error("wait_needs_browser", "Only a page in the browser can be waited for.")
        if self.items and not self.fields:
            raise build_spec_error("items_need_fields", "Items need at least one field.")
        names = [field.name for field in self.fields]
        if len(set(names)) < len(names):
            raise build_spec_error("repeated", "Two fields have the same name.")
        return self
