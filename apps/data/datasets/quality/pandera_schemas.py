"""Import of pandera schemas as expectations: YAML or JSON of bounded size, parsed without executing anything."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable
from typing import Any

import yaml
from django.http import UnreadablePostError
from rest_framework.parsers import BaseParser

from apps.core.errors import Malformed, TooLarge
from apps.platform.jobs.spec_validation import combine_errors
from deepseek.messages import N_
from deepseek.quality.pandera_spec import UnsupportedSchemaError, convert_pandera_schema

MAX_SCHEMA_BYTES = 256 * 1024  # bytes of a schema


class PlainLoader(yaml.SafeLoader):
    """Plain values only: no tags (they construct objects), no aliases (they expand), no duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name)")
        if getattr(self.peek_event(), "tag", None) is not None:
            raise yaml.YAMLError(f"it has a tag ({self.peek_event().tag[:60]})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = Counter(key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode))
        if "<<" in names:
            raise yaml.YAMLError("it merges another object (<<)")
        repeated = [name for name, count in names.items() if count > 1]
        if repeated:
            raise yaml.YAMLError(f"the name {repeated[0][:80]!r} stands twice in one object")
        return super().construct_mapping(node, deep)


class YamlParser(BaseParser):
    """application/yaml; JSON is YAML too."""

    media_type = "application/yaml"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            data = stream.read(MAX_SCHEMA_BYTES + 1)
        except UnreadablePostError as error:
            raise Malformed("The body ended early.", code="body_cut_off", hint=N_("Send it again.")) from error
        if len(data) > MAX_SCHEMA_BYTES:
            raise TooLarge(
                "The schema is larger than {most} bytes.",
                most=MAX_SCHEMA_BYTES,
                limit=MAX_SCHEMA_BYTES,
                hint=N_("Split it, or leave columns out."),
            )
        return read_yaml(data)


class LegacyYamlParser(YamlParser):
    """The media type that clients used before RFC 9512."""

    media_type = "application/x-yaml"


class TextYamlParser(YamlParser):
    media_type = "text/yaml"


def read_yaml(data: bytes) -> Any:
    """The value of a YAML text, or Malformed."""
    try:
        value = yaml.load(data, Loader=PlainLoader)  # noqa: S506  a SafeLoader that takes less
        if "\\u0000" in json.dumps(value, default=str):
            raise ValueError("a text holds the character NUL, which the database cannot keep")
        return value
    # What PyYAML raises for a number or a day that cannot be one is any of these.
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        why = " ".join(str(error).split())[:300]
        raise Malformed(
            "The schema is not YAML that is read here: {why}.",
            why=why,
            code="malformed_yaml",
            hint=N_("Send what pandera's schema.to_yaml() writes, without aliases and tags."),
        ) from None


def parse_pandera_expectations(schema: Any) -> list[dict[str, Any]]:
    """The schema as expectations; Invalid with every part that cannot be taken, each by its name and pointer."""
    try:
        return convert_pandera_schema(schema)
    except UnsupportedSchemaError as refused:
        rows = [
            {
                "code": "pandera_not_taken",
                "message": fault.message,
                "field": fault.field,
                "limit": fault.limit,
                "hint": fault.hint,
            }
            for fault in refused.faults
        ]
        raise combine_errors(rows) from None
