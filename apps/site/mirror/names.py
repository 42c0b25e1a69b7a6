"""Names of packages: their normal form, and which of them a reader could take for another."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.utils import InvalidName, canonicalize_name

from apps.core.errors import Invalid
from deepseek.messages import N_

MAX_NAME = 200
SEPARATORS = re.compile(r"[-_.]+")
LOOKALIKES = (("rn", "m"), ("vv", "w"), ("cl", "d"))  # pairs of letters that look like one
CONFUSABLE = str.maketrans("1il0", "lllo")


def normalize_name(name: str) -> str:
    """The one spelling of a name that the index knows (PEP 503). Raises Invalid."""
    try:
        normalized = str(canonicalize_name(name, validate=True))
    except InvalidName:
        normalized = ""
    if not normalized or len(normalized) > MAX_NAME:
        raise Invalid(
            "{name!r} is not a name of a package.",
            name=name[:60],
            code="package_name_invalid",
            field="name",
            limit=f"1 to {MAX_NAME} letters, digits, - _ . (PEP 508)",
            hint=N_("Begin and end it with a letter or a digit."),
        )
    return normalized


def build_skeleton(normalized: str) -> str:
    """Equal for names that look alike: without separators, with one letter for those that are taken for each other."""
    skeleton = SEPARATORS.sub("", normalized).translate(CONFUSABLE)
    for pair, letter in LOOKALIKES:
        skeleton = skeleton.replace(pair, letter)
    return skeleton


def is_reserved(normalized: str, entries: Iterable[str]) -> bool:
    """Whether INDEX_RESERVED names it, by itself or by the beginning that stands before a *."""
    for entry in entries:
        text = SEPARATORS.sub("-", entry.strip().lower())
        if normalized == text or (text.endswith("*") and normalized.startswith(text[:-1])):
            return True
    return False
