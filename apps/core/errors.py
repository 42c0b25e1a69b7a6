"""The errors that services raise: one shape for REST, forms and command lines.

Each names the field, the limit and the way out. `code` is stable and documented in docs/errors.md;
`status` is the HTTP status it becomes. A service raises, nobody below the web layer formats.

The message is a format string with its values, and so may the hint be: `Invalid("There is no state {state!r}.",
state=state)`. REST, audit and logs read it in English, pages translate it by the format string (docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepseek.messages import Message


class PlaneError(Exception):
    """A refusal or a fault with a name. Subclasses fix `status` and a default `code`."""

    status = 400
    code = "bad_request"

    def __init__(
        self,
        msgid: str,
        /,
        *,
        code: str | None = None,
        field: str | None = None,
        limit: Any = None,
        hint: str | None = None,
        errors: Sequence[dict[str, Any]] | None = None,
        **params: Any,
    ) -> None:
        self.message = Message(msgid, **params)
        super().__init__(self.message)
        self.code = code or type(self).code
        self.field = field
        self.limit = limit
        self.hint = None if hint is None else Message(hint)
        self._errors = list(errors) if errors else None

    def first(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "limit": self.limit,
            "hint": self.hint,
        }

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Every error found, the first of them equal to the top of the answer."""
        return self._errors or [self.first()]

    def as_dict(self) -> dict[str, Any]:
        return {"error": {**self.errors[0], "errors": self.errors}}


class Invalid(PlaneError):
    """The request is understood and wrong: a value, a reference, a combination."""

    status = 422
    code = "invalid"


class Malformed(PlaneError):
    """The request cannot be read: not JSON, nested too deep, a cursor of nonsense."""

    status = 400
    code = "malformed"


class Unauthenticated(PlaneError):
    status = 401
    code = "unauthenticated"


class Refused(PlaneError):
    """Authenticated, visible, and not allowed. The web layer records it after the rollback."""

    status = 403
    code = "refused"

    def __init__(
        self,
        msgid: str,
        /,
        *,
        action: str,
        project_id: int | None = None,
        object_type: str = "",
        object_id: str | int = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(msgid, **kwargs)
        self.action = action
        self.project_id = project_id
        self.object_type = object_type
        self.object_id = object_id


class NotFound(PlaneError):
    """Absent, or not visible to this actor: the two are not told apart."""

    status = 404
    code = "not_found"


class WrongMethod(PlaneError):
    """The address knows other methods than this; the limit names them."""

    status = 405
    code = "method_not_allowed"


class Conflict(PlaneError):
    """The object is in a state in which this cannot be done."""

    status = 409
    code = "conflict"


class StaleState(Conflict):
    """Compare-and-set found another state, owner or attempt: somebody was faster."""

    code = "stale_state"


class IllegalMove(Conflict):
    """The table of legal moves has no such move."""

    code = "illegal_move"


class TooLarge(PlaneError):
    status = 413
    code = "too_large"


class LengthRequired(PlaneError):
    status = 411
    code = "length_required"


class TooMany(PlaneError):
    status = 429
    code = "too_many"


class Unavailable(PlaneError):
    """A part of the plane is down or full for now; nothing was written."""

    status = 503
    code = "unavailable"


class StorageFull(PlaneError):
    status = 507
    code = "storage_full"
