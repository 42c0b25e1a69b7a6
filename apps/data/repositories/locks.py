"""LFS locks: who works on which path. `main` is the one branch, so the reference of a request changes nothing."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from apps.core.errors import Invalid, NotFound
from apps.core.request_values import parse_int
from apps.data.repositories import services
from apps.data.repositories.access import (
    RepositoryTarget,
    authenticate_token,
    get_readable_target,
    get_writable_target,
    resolve_target,
)
from apps.data.repositories.lfs import read_json_object
from apps.data.repositories.models import Lock
from apps.data.repositories.responses import build_lfs_response, format_error, handle_protocol_errors, render_lfs_error
from apps.data.repositories.smart_http import require_method

LOCKS_PER_PAGE = 100


@handle_protocol_errors(render_lfs_error)
def handle_locks(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """GET lists, POST locks."""
    actor = authenticate_token(request)
    require_method(request, "GET", "POST")
    if request.method == "GET":
        target = get_readable_target(actor, project, name)
        rows = Lock.objects.filter(dataset=target.dataset)
        if path := request.GET.get("path"):
            rows = rows.filter(path=path)
        if key := request.GET.get("id"):
            rows = rows.filter(pk=parse_lock_id(key, "id"))
        page, after = paginate_locks(rows, request.GET.get("cursor"), request.GET.get("limit"))
        return build_lfs_response({"locks": [serialize_lock(lock) for lock in page], **after})
    target = get_writable_target(actor, project, name)
    path = read_json_object(request).get("path")
    if not isinstance(path, str):
        raise Invalid("There is no path.", field="path", limit="text")
    try:
        lock = services.lock_path(actor=actor, dataset=target.require_dataset(), path=path)
    except services.Locked as conflict:
        return build_lfs_response(
            {"lock": serialize_lock(conflict.lock), "message": format_error(conflict)}, status=conflict.status
        )
    return build_lfs_response({"lock": serialize_lock(lock)}, status=201)


@handle_protocol_errors(render_lfs_error)
def verify_locks(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST locks/verify, before every push: whose locks there are. None of a dataset that is not there yet."""
    actor = authenticate_token(request)
    require_method(request, "POST")
    target: RepositoryTarget = get_writable_target(actor, project, name)
    body = read_json_object(request)
    rows = Lock.objects.filter(dataset=target.dataset) if target.dataset else Lock.objects.none()
    page, after = paginate_locks(rows, body.get("cursor"), body.get("limit"))
    ours = [serialize_lock(lock) for lock in page if lock.is_of(actor)]
    theirs = [serialize_lock(lock) for lock in page if not lock.is_of(actor)]
    return build_lfs_response({"ours": ours, "theirs": theirs, **after})


@handle_protocol_errors(render_lfs_error)
def unlock(request: HttpRequest, project: str, name: str, key: str) -> HttpResponseBase:
    """POST locks/{id}/unlock {force}."""
    actor = authenticate_token(request)
    require_method(request, "POST")
    target = resolve_target(actor, project, name)
    force = read_json_object(request).get("force") is True
    lock = (
        Lock.objects.select_related("dataset")
        .filter(dataset=target.require_dataset(), pk=parse_lock_id(key, "id"))
        .first()
    )
    if lock is None:
        raise NotFound("There is no such lock: it may be gone already.", field="id")
    payload = serialize_lock(lock)
    services.unlock_path(actor=actor, lock=lock, force=force)
    return build_lfs_response({"lock": payload})


def parse_lock_id(text: str, field: str) -> int:
    number = parse_int(text)
    if number is None:
        raise NotFound("There is no such lock.", field=field)
    return number


def parse_count(sent: Any, otherwise: int) -> int:
    """A whole number as text or number; `otherwise` for anything else, and for more digits than a key has."""
    text = sent if isinstance(sent, str) else str(sent) if isinstance(sent, int) and 0 <= sent < 10**18 else ""
    number = parse_int(text, 0, 10**18)
    return otherwise if number is None else number


def paginate_locks(locks_query: QuerySet[Lock], cursor: Any, limit: Any) -> tuple[list[Lock], dict[str, str]]:
    """Locks in the order in which they were taken; `next_cursor` where there are more."""
    size = min(max(parse_count(limit, LOCKS_PER_PAGE), 1), LOCKS_PER_PAGE)
    after = parse_count(cursor, 0)
    rows = list(locks_query.filter(pk__gt=after).order_by("pk")[: size + 1])
    return rows[:size], {"next_cursor": str(rows[size - 1].pk)} if len(rows) > size else {}


def serialize_lock(lock: Lock) -> dict[str, Any]:
    return {
        "id": str(lock.pk),
        "path": lock.path,
        "locked_at": lock.locked_at.isoformat().replace("+00:00", "Z"),
        "owner": {"name": lock.owner},
    }
