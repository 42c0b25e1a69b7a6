"""Idempotent submission: a key that was sent before finds the row of its first request, and no second one is made.

A key belongs to a requester in a project. The models that have one hold it by a unique constraint, which decides where
two requests of the same key meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import IntegrityError, models, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict
from deepseek.messages import N_, Message

Row = TypeVar("Row", bound=models.Model)
Validated = TypeVar("Validated")


def submit_once(
    *,
    find_first: Callable[[], Row | None],
    validate: Callable[[], Validated],
    insert: Callable[[Validated], Row],
) -> tuple[Row, bool]:
    """Return the row of a request and whether it is new. The caller has checked the permission.

    `find_first` looks for the row of the same key, None without one, and raises Conflict if that is another request's.
    `validate` runs before the transaction, which holds only `insert`: on SQLite it takes the write lock.
    """
    first = find_first()
    if first is not None:
        return first, False
    validated = validate()
    try:
        with transaction.atomic():
            row = insert(validated)
    except IntegrityError:  # the same key at the same instant: the other one was first
        first = find_first()
        if first is None:
            raise
        return first, False
    return row, True


def find_by_idempotency_key(
    rows: models.QuerySet[Row], *, actor: Actor, project_id: int, key: str | None
) -> Row | None:
    """The row that this requester submitted in the project with the key; None if there is none, or no key."""
    if key is None:
        return None
    return rows.filter(project_id=project_id, requester=actor.label, idempotency_key=key).first()


def build_key_conflict(message: Message) -> Conflict:
    """The error of a key that was used for another request, which `message` names."""
    return Conflict(
        message,
        code="idempotency_conflict",
        field="Idempotency-Key",
        hint=N_("Send a new key with a new request."),
    )
