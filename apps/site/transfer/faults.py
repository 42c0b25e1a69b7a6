"""What the engine says of a bundle, as errors of the plane."""

from __future__ import annotations

from typing import Any

from django.db import DataError, IntegrityError

from apps.core.errors import Conflict, Invalid, PlaneError
from apps.site.transfer.export.rows import build_catalogue_error
from deepseek.bundles.errors import TransferError
from deepseek.doctor.conflict_rules import ConflictRulesError
from deepseek.messages import N_, record_messages
from deepseek.signing.errors import SigningError

BUNDLE_FAULTS = (TransferError, SigningError)
"""What the engine raises of a bundle."""
NONSENSE_FAULTS = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    DataError,
    IntegrityError,
)
"""What rows of nonsense raise: done again, they would raise it again."""


def convert_fault(error: TransferError | SigningError | ConflictRulesError) -> PlaneError:
    """A TransferError or SigningError with its code, field, limit and remedy."""
    return Invalid("{what}", what=error.message, code=error.code, field=error.field, limit=error.limit, hint=error.hint)


def build_nonsense_error(error: Exception) -> PlaneError:
    """What a catalogue holds that no check named: the error of its type, since its text may quote what was sent."""
    return build_catalogue_error("", f"a value cannot be read ({type(error).__name__})")


def replace_unstorable(error: PlaneError) -> PlaneError:
    """The error, or where it quotes the character NUL, which no row of PostgreSQL takes, one that says so."""
    if "\0" in f"{error.message}{error.field}{error.limit}":
        return build_catalogue_error("", "a text holds the character NUL")
    return error


def build_error_document(error: PlaneError) -> dict[str, Any]:
    """What a row keeps of an error: {code, message, field, limit, hint}."""
    return record_messages({key: value for key, value in error.first().items() if value is not None})


def build_replay_error(sequence: int, applied: int, source: str) -> Conflict:
    return Conflict(
        "Bundle {sequence} of {source} is not newer than {applied}, which was applied here.",
        sequence=sequence,
        source=source,
        applied=applied,
        code="bundle_replayed",
        field="/sequence",
        limit=f"more than {applied}",
        hint=N_("Build a new bundle on the source: its number is the next one."),
    )
