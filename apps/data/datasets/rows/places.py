"""Places in a file of text at which a page begins, signed by this plane.

A place is a byte of the file. From a byte within a row its cells stand under other columns, and so those of a hidden
column would be shown. So only the places that a page before has returned are read from.
"""

from __future__ import annotations

from django.utils.crypto import constant_time_compare, salted_hmac

from apps.core.errors import Invalid
from deepseek.messages import N_

SALT = "apps.data.datasets.rows.places"
SIGNATURE_CHARACTERS = 32


def sign_place(table: str, place: str) -> str:
    """The place with its signature; `table` names the files that it lies in."""
    return f"{place}.{compute_signature(table, place)}"


def read_place(table: str, text: str, field: str) -> str:
    """The place that was signed. Raises Invalid for any other text."""
    place, _, signature = text.rpartition(".")
    if constant_time_compare(signature, compute_signature(table, place)):
        return place
    raise Invalid(
        "{text!r} is no place in the table.",
        text=text[:60],
        code="bad_place",
        field=field,
        limit="a number of rows, or `next` of the page before",
        hint=N_("Begin with the first rows."),
    )


def compute_signature(table: str, place: str) -> str:
    mac = salted_hmac(SALT, f"{table}:{place}", algorithm="sha256")
    return mac.hexdigest()[:SIGNATURE_CHARACTERS]
