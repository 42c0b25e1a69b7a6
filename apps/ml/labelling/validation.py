"""What the services of this app refuse: names, schemas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apps.core.errors import Invalid
from apps.platform.accounts.models import SLUG
from apps.platform.jobs.spec_validation import parse_model
from deepseek.labelling.label_studio import ConfigError, parse_config
from deepseek.labelling.schema import LabellingSchema
from deepseek.messages import N_, Message


def check_slug(field: str, name: str) -> None:
    if not re.search(SLUG.regex, name):
        raise Invalid(
            "{name!r} cannot be a name here.",
            name=name[:60],
            code="bad_name",
            field=field,
            limit="1 to 50 lower-case letters, digits and hyphens, a letter or digit first",
            hint=N_("For instance news-persons."),
        )


def read_schema(document: Mapping[str, Any] | str) -> LabellingSchema:
    """The schema of a document, or of a configuration of Label Studio (XML). Raises Invalid naming each field."""
    if isinstance(document, str):
        try:
            return parse_config(document)
        except ConfigError as fault:
            raise Invalid(
                "This is no configuration that can be imported: {reason}",
                reason=fault.message if isinstance(fault.message, Message) else str(fault),
                code="bad_config",
                field="config",
                limit=N_("View with Text or Image, Labels, Relations and Choices"),
                hint=N_("Write the schema as JSON for fields and rules."),
            ) from None
    return parse_model(LabellingSchema, document, strict=False, prefix="/document")
