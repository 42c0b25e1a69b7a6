"""How a study, an update or a ledger is refused: with a code, the field, the value, the limit and the remedy."""

from __future__ import annotations

from deepseek.job import EngineError


class FederationError(EngineError):
    """A study, a credential, an update or a ledger that is not accepted. `code` is stable (docs/errors.md)."""
