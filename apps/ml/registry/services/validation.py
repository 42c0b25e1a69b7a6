"""What a name, an alias, a tag and a text may be."""

from __future__ import annotations

import re

from apps.core.errors import Invalid
from apps.ml.experiments.keys import check_key
from apps.ml.registry.alias_names import check_profile, has_alias_characters, is_like_protected
from apps.platform.accounts.models import SLUG
from deepseek.messages import N_

LIKE_A_NUMBER = re.compile(r"v?[0-9]+")


def check_name(field: str, name: str) -> None:
    if not re.search(SLUG.regex, name):
        raise Invalid(
            "{name!r} cannot be a name.",
            name=name[:60],
            code="bad_name",
            field=field,
            limit="1 to 50 lower-case letters, digits and hyphens, a letter or digit first",
            hint=N_("For instance wti-forecast."),
        )


def check_alias(name: str) -> None:
    """A name that could be taken for a version's number is none: v3 must mean the third."""
    check_name("alias", name)
    if LIKE_A_NUMBER.fullmatch(name):
        raise Invalid(
            "{name!r} reads like the number of a version.",
            name=name,
            code="bad_name",
            field="alias",
            limit="a word",
            hint=N_("For instance staging."),
        )


def check_text(field: str, value: str, limit: int, *, required: bool = False) -> None:
    if len(value) > limit:
        raise Invalid(
            "{name} has {count} characters.",
            name=field,
            count=len(value),
            field=field,
            limit=f"{limit} characters",
            hint=N_("Shorten it."),
        )
    if required and not value.strip():
        raise Invalid(
            "Give a {name}.", name=field, code="required", field=field, hint=N_("It stands in the audit trail.")
        )


# -- as MLflow's clients name things --------------------------------------------------------------------------------
NAME_LENGTH, ALIAS_LENGTH, TAG_LENGTH = 256, 255, 100_000


def check_any_name(name: str) -> None:
    """Any name that fits between two slashes of an address, and that a person can see."""
    if "/" in name or ":" in name:
        raise Invalid(
            "Invalid model name {name!r}. Names cannot contain '/' or ':'.",
            name=name[:60],
            code="bad_name",
            field="name",
            limit="no / and no :",
            hint=N_("They separate the parts of models:/<name>/<version>."),
        )
    if name.strip() in {"", ".", ".."} or not name.isprintable():
        raise Invalid(
            "{name!r} cannot be the name of a model.",
            name=name[:60],
            code="bad_name",
            field="name",
            limit="letters that can be seen, and not only dots",
            hint=N_("For instance wti-forecast."),
        )
    check_length("name", name, NAME_LENGTH)


def check_client_alias(name: str) -> None:
    """As the reference: letters, digits, underscores, hyphens; not what means the newest or a number. Beyond it: what
    words and emoji are made of, and only what people can tell from a protected alias."""
    check_length("Registered model alias name", name, ALIAS_LENGTH)
    if not has_alias_characters(name):
        raise Invalid(
            "Invalid alias name: {name!r}. Names may only contain alphanumerics, underscores (_), and dashes (-).",
            name=name[:60],
            code="bad_name",
            field="alias",
            hint=N_("For instance champion."),
        )
    check_profile(name)
    if name.lower() == "latest":
        raise Invalid("'latest' alias name (case insensitive) is reserved.", code="bad_name", field="alias")
    if re.fullmatch(r"v\d+", name, re.IGNORECASE):
        raise Invalid("Version alias name {name!r} is reserved.", name=name, code="bad_name", field="alias")


def check_imported_alias(name: str) -> None:
    """As a client's; and one that only looks like a protected alias is no alias, where no approval was asked for."""
    check_client_alias(name)
    if is_like_protected(name):
        raise Invalid(
            "The alias {name!a} looks like one that moves only by an approval.",
            name=name[:60],
            code="alias_confusable",
            field="alias",
            hint=N_("Rename it on the server that it comes from."),
        )


def check_tag(key: str, value: str) -> None:
    """As the reference: a key that would do as a relative path, and a value that is not endless."""
    check_key(key)
    check_length("value", value, TAG_LENGTH)


def check_length(field: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise Invalid(
            "'{name}' exceeds the maximum length of {most} characters",
            name=field,
            most=limit,
            code="too_long",
            field=field,
            limit=limit,
            hint=N_("Shorten it."),
        )
