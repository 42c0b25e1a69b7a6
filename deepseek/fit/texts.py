"""How many tokens there are in texts of which the bytes, and perhaps the lines, are known."""

from __future__ import annotations

from deepseek.fit.memory import DataFacts

LONGEST_TO_MEAN = 4  # how much longer than the mean the longest text is taken to be


def guess_tokens(facts: DataFacts, bytes_per_token: int) -> int:
    """Tokens of all texts: as counted, else from the bytes of the file."""
    return facts.file_bytes // bytes_per_token if facts.tokens is None else facts.tokens


def guess_longest(facts: DataFacts, bytes_per_token: int, limit: int, unknown: int) -> int:
    """Tokens of the longest text, `limit` at most: as counted, else four times the mean; `unknown` without any fact."""
    if facts.longest is not None:
        longest = facts.longest
    elif facts.rows and facts.file_bytes:
        longest = min(LONGEST_TO_MEAN * facts.file_bytes // facts.rows, facts.file_bytes) // bytes_per_token
    elif facts.file_bytes:
        longest = min(unknown, facts.file_bytes // bytes_per_token)
    else:
        longest = unknown
    return max(1, min(limit, longest))
