"""What annotators mark: labels, relations, fields and rules as one typed document. Light to import.

One schema has a level. `basic`: entities of texts, or the class of an image or of a row. `semantic`: relations between
entities as well. `domain`: fields and business rules as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deepseek.labelling.rules import RuleError, RuleScope, parse_rule
from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

Level = Literal["basic", "semantic", "domain"]
DataKind = Literal["text", "image", "row"]
LEVELS: tuple[Level, ...] = ("basic", "semantic", "domain")
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
COLOURS = ("#FFA500", "#00BFFF", "#3CB371", "#BA55D3", "#DC143C", "#708090", "#B8860B", "#4682B4")
RESERVED_FIELDS = ("text", "image", "labels", "class")  # names of controls of every configuration


class StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EntityLabel(StrictModel):
    value: Name = Field(description="The kind of entity.")
    background: str = Field("#FFA500", pattern=r"^#[0-9A-Fa-f]{6}$", description="Its color, as #RRGGBB.")


class RelationType(StrictModel):
    value: Name = Field(description="What the first entity is to the second.")
    sources: list[Name] = Field([], max_length=50, description="Labels of the first entity; any if empty.")
    targets: list[Name] = Field([], max_length=50, description="Labels of the second entity; any if empty.")


class SchemaField(StrictModel):
    name: Name = Field(description="Name of the field.")
    kind: Literal["choice", "number", "text"] = Field("choice", description="What it holds.")
    choices: list[ClassName] = Field([], max_length=200, description="The values of a choice.")
    required: bool = Field(False, description="Whether an annotation needs it.")

    @model_validator(mode="after")
    def _check_choices(self) -> SchemaField:
        if (self.kind == "choice") != bool(self.choices):
            raise build_spec_error(
                "field_choices",
                N_("The field {name} needs choices if it is a choice, and none otherwise."),
                name=self.name,
            )
        return self


class BusinessRule(StrictModel):
    name: Name = Field(description="Name of the rule.")
    condition: str = Field(
        min_length=1,
        max_length=500,
        description="What every annotation has to meet, such as: if count(ORG) > 0 then every ORG has located_in",
    )
    message: str = Field("", max_length=200, description="What annotators read where it is violated.")


class LabellingSchema(StrictModel):
    """Labels, relations, fields and rules of one level of labelling."""

    level: Level = Field("basic", description="basic: entities or classes; semantic: relations; domain: rules.")
    data: DataKind = Field("text", description="What one task is.")
    labels: list[EntityLabel] = Field([], max_length=50, description="Entities to mark in texts.")
    classes: list[ClassName] = Field([], max_length=1000, description="Classes of an image or a row, one each.")
    relations: list[RelationType] = Field([], max_length=50, description="Relations between entities.")
    fields: list[SchemaField] = Field([], max_length=50, description="Fields about the task as a whole.")
    rules: list[BusinessRule] = Field([], max_length=100, description="Business rules, checked by machine.")

    @field_validator("labels", "relations")
    @classmethod
    def _refuse_repeated_values(cls, rows: list[EntityLabel] | list[RelationType]) -> object:
        require_unique([row.value for row in rows])
        return rows

    @field_validator("fields", "rules")
    @classmethod
    def _refuse_repeated_names(cls, rows: list[SchemaField] | list[BusinessRule]) -> object:
        require_unique([row.name for row in rows])
        for row in rows:
            if isinstance(row, SchemaField) and row.name in RESERVED_FIELDS:
                raise build_spec_error("field_reserved", N_("No field can be called {name}."), name=row.name)
        return rows

    @field_validator("classes")
    @classmethod
    def _refuse_repeated_classes(cls, names: list[str]) -> list[str]:
        require_unique(names)
        return names

    @model_validator(mode="after")
    def _check(self) -> LabellingSchema:
        if self.data == "text" and (not self.labels or self.classes):
            raise build_spec_error("schema_parts", N_("A schema of texts has labels, and no classes."))
        if self.data != "text" and (len(self.classes) < 2 or self.labels or self.relations):
            raise build_spec_error(
                "schema_parts",
                N_("A schema of images or rows has two classes at least, and neither labels nor relations."),
            )
        if self.level == "basic" and (self.relations or self.fields or self.rules):
            raise build_spec_error("schema_level", N_("Relations, fields and rules are of a higher level than basic."))
        if self.level == "semantic" and (not self.relations or self.fields or self.rules):
            raise build_spec_error(
                "schema_level", N_("The level semantic has relations, and neither fields nor rules.")
            )
        if self.level == "domain" and not self.rules:
            raise build_spec_error("schema_level", N_("The level domain has one rule at least."))
        label_values = {label.value for label in self.labels}
        for relation in self.relations:
            for label in (*relation.sources, *relation.targets):
                if label not in label_values:
                    raise build_spec_error("label_unknown", N_("There is no label {label}."), label=label)
        scope = build_scope(self)
        for rule in self.rules:
            try:
                parse_rule(rule.condition, scope)
            except RuleError as fault:
                raise build_spec_error(
                    "bad_rule",
                    N_("Rule {name}, character {place}: {reason}"),
                    name=rule.name,
                    place=fault.place + 1,
                    reason=fault.reason,
                ) from None
        return self


def build_scope(schema: LabellingSchema) -> RuleScope:
    """The names that rules of this schema may use."""
    return RuleScope(
        labels=frozenset(label.value for label in schema.labels),
        relations=frozenset(relation.value for relation in schema.relations),
        fields={field.name: (field.kind, tuple(field.choices)) for field in schema.fields},
        classes=frozenset(schema.classes),
    )


def compute_schema_digest(schema: LabellingSchema) -> str:
    """SHA-256 of the canonical JSON of the schema: equal schemas have equal digests."""
    text = json.dumps(schema.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def require_unique(names: Sequence[str]) -> None:
    repeated = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if repeated is not None:
        raise build_spec_error("repeated", N_("{name} is there twice."), name=repeated)
