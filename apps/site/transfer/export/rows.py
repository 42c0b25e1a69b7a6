"""Rows as JSON and back: chosen fields, each by the rules of its model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from apps.core.errors import Invalid
from deepseek.messages import N_

M = TypeVar("M", bound=models.Model)


def dump_fields(row: models.Model, names: Sequence[str]) -> dict[str, Any]:
    """{name: value} of these fields, as JSON has them; times in ISO 8601."""
    return dict(json.loads(json.dumps({name: getattr(row, name) for name in names}, cls=DjangoJSONEncoder)))


def load_row(model: type[M], values: Any, names: Sequence[str], **others: Any) -> M:
    """An unsaved row of these fields, checked as a form would check them, and of `others`, which are taken as given.

    Raises Invalid `catalogue_malformed`.
    """
    if not isinstance(values, Mapping):
        raise build_catalogue_error(model._meta.model_name or "", "it is no object")
    row = model(**others)
    try:
        for name in names:
            setattr(row, name, clean_value(model._meta.get_field(name), values[name], row))
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise build_catalogue_error(f"{model._meta.model_name}/{name}", str(error)[:200]) from None
    return row


def clean_value(field: Any, value: Any, row: models.Model) -> Any:
    """The value as the field has it; an empty one passes where the column takes it, whatever a form would ask."""
    if value in field.empty_values and (value is not None or field.null):
        return field.to_python(value)
    return field.clean(value, row)


def build_catalogue_error(field: str, fault: str) -> Invalid:
    return Invalid(
        "The catalogue of the bundle is not accepted: {fault}.",
        fault=fault,
        code="catalogue_malformed",
        field=field,
        hint=N_("Build the bundle again on a plane of this version."),
    )
