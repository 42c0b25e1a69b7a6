"""How bundles are refused: with a code, the field, the value, the limit and the remedy."""

from __future__ import annotations

from deepseek.job import EngineError


class TransferError(EngineError):
    """A bundle, a volume or an inventory that is not accepted. `code` is stable (docs/errors.md)."""
