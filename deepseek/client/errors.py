"""How the client fails. Every error names the field, the value, the limit and the remedy, and never a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepseek.job import EngineError


class ClientError(EngineError):
    """Something that was given to the client is wrong: an address, a file, a name. Exit code 2."""


class PlaneRefusal(ClientError):
    """The plane refused a request. `status` is the HTTP status, `code` the stable code of docs/errors.md."""

    status = 0

    @classmethod
    def from_answer(cls, status: int, error: Mapping[str, Any]) -> PlaneRefusal:
        """The error for the `error` object of an answer of 400 or more."""
        limit = error.get("limit")
        refusal = cls(
            str(error.get("code") or "unreadable"),
            str(error.get("message") or f"The plane answered with status {status}."),
            field=_as_text(error.get("field")),
            limit=limit if isinstance(limit, int) else _as_text(limit),
            hint=_as_text(error.get("hint")),
        )
        refusal.status = status
        if status >= 500:
            refusal.exit_code = 1
        return refusal


class PlaneUnreachable(ClientError):
    """The plane gave no answer, or one of its parts is away. Exit code 1: the same again may succeed.

    `status` is the HTTP status of a plane that answered that it is busy or restarts, else 0.
    """

    exit_code = 1
    status = 0


class JobNotSucceeded(ClientError):
    """A job that was waited for with `check=True` failed or was cancelled. Exit code 1."""

    exit_code = 1


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)
