"""Optimistic locking of texts that people edit: who saves names the revision that was read."""

from __future__ import annotations

from collections.abc import Mapping

from apps.core.canonical import compute_digest
from apps.core.errors import StaleState
from deepseek.messages import N_

REVISION_DIGITS = 16


def compute_revision(texts: Mapping[str, str]) -> str:
    """The revision of these texts, 16 hex digits of their digest: the same texts are the same revision."""
    return compute_digest(dict(texts))[:REVISION_DIGITS]


def require_revision(revision: str | None, current: Mapping[str, str]) -> None:
    """Raise StaleState unless `revision` is that of the texts as they are; None asks for no check.

    Call it with the row locked.
    """
    latest = compute_revision(current)
    if revision is not None and revision != latest:
        raise StaleState(
            "Somebody else changed it: revision {revision!r} is not the latest.",
            revision=revision[:60],
            field="revision",
            limit=latest,
            hint=N_("Read it again, put the two texts together, and save with the latest revision."),
        )
