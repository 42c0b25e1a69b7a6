"""docs/settings.md, made from the fields of controlplane/env.py and its bases; a test compares the two."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from controlplane.env import Env
from controlplane.secret_source import FROM_FILE

HEAD = """# Settings

Everything that differs between machines comes from the environment; `controlplane/env.py` is the one place that
reads it. A wrong value stops the start with exit status 2 and names itself. This page is made by
`python manage.py settings_table > docs/settings.md`.

Secrets need not stand in the environment. Each of {secrets}
may be given as a file instead: `SECRET_KEY_FILE=/run/secrets/secret_key`. White space around its text does not count.

| variable | default | limits | what it does |
|---|---|---|---|
"""
SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "max_length": "characters ≤"}


class Command(BaseCommand):
    help = "Print docs/settings.md."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        print(render_table(), end="")


def render_table() -> str:
    secrets = [f"`{name.upper()}`" for name in FROM_FILE]
    head = HEAD.format(secrets=", ".join(secrets))
    return head + "".join(render_row(name, field) for name, field in list_fields())


def list_fields() -> list[tuple[str, FieldInfo]]:
    """The fields as the table has them: those of Env first, then those of the classes that it builds on."""
    return sorted(Env.model_fields.items(), key=lambda item: item[0] not in Env.__annotations__)


def render_row(name: str, field: FieldInfo) -> str:
    limits = [
        f"{SYMBOLS[limit]} {getattr(rule, limit):,}"
        for rule in field.metadata
        for limit in SYMBOLS
        if hasattr(rule, limit)
    ]
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    limits += [" ".join(f"`{choice}`" for choice in choices)] if choices else []
    return f"| `{name.upper()}` | {format_value(field.default)} | {', '.join(limits)} | {field.description} |\n"


def format_value(value: Any) -> str:
    if isinstance(value, SecretStr) or value in ("", None, []):
        return ""
    if isinstance(value, list):
        return f"`{','.join(value)}`"
    return f"`{value:,}`" if isinstance(value, int) and not isinstance(value, bool) and value > 99_999 else f"`{value}`"
