"""What the engine says of a bundle, as errors of the plane."""

from __future__ import annotations

from typing import Any

from apps.core.errors import Conflict, Invalid, PlaneError
from deepseek.bundles.errors import TransferError
from deepseek.doctor.conflict_rules import ConflictRulesError
from deepseek.messages import N_, record_messages
from deepseek.signing.errors import SigningError

BUNDLE_FAULTS = (TransferError, SigningError)
"""What the engine raises of a bundle."""


def convert_fault(error: TransferError | SigningError | ConflictRulesError) -> PlaneError:
    """A TransferError or SigningError with its code, field, limit and remedy."""
    return Invalid("{what}", what=error.message, code=error.code, field=error.field, limit=error.limit, hint=error.hint)


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
