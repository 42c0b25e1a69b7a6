"""Names of images: repository:tag, without the host of a registry."""

from __future__ import annotations

import re

from apps.core.errors import Invalid
from deepseek.messages import N_

PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{PART}(?:/{PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
MAX_REPOSITORY = 200


def parse_reference(text: str) -> tuple[str, str]:
    """(repository, tag) of demo/app:v1, or of registry.example:5000/demo/app:v1. Raises Invalid."""
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        text = rest
    repository, _, tag = text.partition(":")
    tag = tag or "latest"
    if len(repository) > MAX_REPOSITORY or not REPOSITORY.fullmatch(repository) or not TAG.fullmatch(tag):
        raise Invalid(
            "{text!r} is not a name of an image.",
            text=text[:80],
            code="image_name_invalid",
            field="name",
            limit="repository:tag, lower case",
            hint=N_("Name it: --name demo/app:v1"),
        )
    return repository, tag
