"""What everybody else calls: `record` a fact or `draft` it, `change_state` of a row with its record, `seal_now`,
`record_refusal`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from django.db import Error as AnyDatabaseError
from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.db.fast_sql import compare_and_set
from apps.core.errors import IllegalMove, Refused, StaleState
from apps.core.policy import get_project_id
from apps.platform.audit.models import AuditRecord, Result
from apps.platform.audit.record_body import TIME, build_column_copies, convert_fields, encode_body
from apps.platform.audit.sealer import seal_all
from deepseek.messages import N_, record_messages

M = TypeVar("M", bound=models.Model)
log = logging.getLogger(__name__)


def record(
    *,
    actor: Actor,
    action: str,
    obj: models.Model | None = None,
    object_type: str = "",
    object_id: str | int = "",
    project_id: int | None = None,
    result: str = Result.DONE,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
) -> AuditRecord:
    """Write one fact, unsealed; inside the caller's transaction, so that it lives and dies with the write.

    `obj` gives type, id and project; `before` and `after` hold the changed fields only; `digests` what was seen.
    """
    row = draft(
        actor=actor,
        action=action,
        obj=obj,
        object_type=object_type,
        object_id=object_id,
        project_id=project_id,
        result=result,
        reason=reason,
        before=before,
        after=after,
        digests=digests,
    )
    row.save(force_insert=True)
    return row


def draft(
    *,
    actor: Actor,
    action: str,
    obj: models.Model | None = None,
    object_type: str = "",
    object_id: str | int = "",
    project_id: int | None = None,
    result: str = Result.DONE,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
) -> AuditRecord:
    """What `record` would write, for a write that takes it along in its own statement: fast_sql.insert_rows."""
    if obj is not None:
        object_type, object_id = obj._meta.model_name or "", obj.pk
        project_id = project_id if project_id is not None else get_project_id(obj)
    body = {
        "v": 1,
        "at": timezone.now().strftime(TIME),
        "actor": actor.as_record(),
        "address": actor.address,
        "request": actor.request_id,
        "job": actor.job_id,
        "project": project_id,
        "action": action,
        "object": {"type": object_type, "id": str(object_id)},
        "digests": dict(digests or {}),
        "result": str(result),
        **record_messages({"reason": reason}),
        "before": convert_fields(before or {}),
        "after": convert_fields(after or {}),
    }
    return AuditRecord(body=encode_body(body), **build_column_copies(body))


def change_state(
    obj: M,
    to: str,
    *,
    actor: Actor,
    reason: str = "",
    guard: Mapping[str, Any] | None = None,
    action: str = "",
    digests: Mapping[str, str] | None = None,
    **fields: Any,
) -> M:
    """Move `obj` to the state `to`: the only place in the project that assigns `.state`.

    Compare-and-set on the state that `obj` was read with and on `guard` (owner, attempt, lease); sets `fields`
    with it, which may be database expressions; writes the audit record; all in one transaction.

    Raises IllegalMove if the model's MOVES has no such move, StaleState if no row matched.
    """
    model = type(obj)
    old: str = obj.state  # type: ignore[attr-defined]
    moves: Mapping[str, frozenset[str]] = model.MOVES  # type: ignore[attr-defined]
    name = model._meta.model_name or ""
    if to not in moves[old]:
        raise build_illegal_move(name, old, to, moves[old])
    before = {"state": old, **{field: getattr(obj, field, None) for field in fields}}
    # No savepoint: where no row matched nothing was written, and what fails behind that must undo all of the caller's.
    with transaction.atomic(savepoint=False):
        moved = compare_and_set(obj, {"state": to, **fields}, state=old, **(guard or {}))
        if moved:
            record(
                actor=actor,
                action=action or f"{name}.{to}",
                obj=obj,
                reason=reason,
                before=before,
                after={"state": to, **fields},
                digests=digests,
            )
    if not moved:
        raise build_stale_error(name)
    return obj


def change_states(
    rows: Sequence[M], to: str, *, actor: Actor, reason: str = "", action: str = "", **fields: Any
) -> None:
    """`change_state` of many rows of one model that the caller has locked, by a statement for each state that they are
    in and one for their records; each row has a record of its own.

    Raises IllegalMove as `change_state` does, StaleState where a row was not locked and has changed.
    """
    if not rows:
        return
    model = type(rows[0])
    name, moves = model._meta.model_name or "", model.MOVES  # type: ignore[attr-defined]
    by_state: dict[str, list[M]] = {}
    for row in rows:
        by_state.setdefault(row.state, []).append(row)  # type: ignore[attr-defined]
    if illegal := [old for old in by_state if to not in moves[old]]:
        raise build_illegal_move(name, illegal[0], to, moves[illegal[0]])
    with transaction.atomic(savepoint=False):
        for old, group in by_state.items():
            locked = model._default_manager.filter(pk__in=[row.pk for row in group], state=old)
            if locked.update(state=to, **fields) != len(group):
                raise build_stale_error(name)
        AuditRecord.objects.bulk_create(
            draft(
                actor=actor,
                action=action or f"{name}.{to}",
                obj=row,
                reason=reason,
                before={"state": row.state},  # type: ignore[attr-defined]
                after={"state": to, **fields},
            )
            for row in rows
        )
    for row in rows:
        for field, value in {"state": to, **fields}.items():
            setattr(row, field, value)


def build_illegal_move(name: str, old: str, to: str, allowed: Collection[str]) -> IllegalMove:
    return IllegalMove(
        "A {old} {name} cannot become {to}.",
        old=old,
        name=name,
        to=to,
        field="state",
        limit=", ".join(sorted(allowed)) or "nothing",
    )


def build_stale_error(name: str) -> StaleState:
    return StaleState(
        "The {name} has changed meanwhile.", name=name, field="state", hint=N_("Read it again and decide anew.")
    )


def seal_now() -> None:
    """Seal everything as soon as the running transaction has committed; at once when none is running.

    For what must not stay deletable for even a second: approvals, promotions, role changes, exports. A failure
    is logged and left to the sealer's next round: the evidence is late, the work is done.
    """
    transaction.on_commit(seal_all, robust=True)


def record_refusal(actor: Actor, error: Refused, request: HttpRequest | None = None) -> None:
    """Record that `actor` was refused, in a transaction of its own: call it after the rollback, never inside.

    Never raises: the refusal stands whether or not its record could be written.
    """
    try:
        with transaction.atomic():
            record(
                actor=actor,
                action=error.action,
                object_type=error.object_type,
                object_id=error.object_id,
                project_id=error.project_id,
                result=Result.REFUSED,
                reason=error.message,
                after={"code": error.code, **({"method": request.method, "path": request.path} if request else {})},
            )
    except AnyDatabaseError:
        log.exception("the refusal of %s to %s could not be recorded", error.action, actor.label)
