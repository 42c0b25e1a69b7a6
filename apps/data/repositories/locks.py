"""LFS locks: who works on which path. `main` is the one branch, so the reference of a request changes nothing."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase

from apps.core.errors import Invalid, NotFound
from apps.data.repositories import services
from apps.data.repositories.access import Asked, asked_for, by_token, to_read, to_write
from apps.data.repositories.lfs import json_of
from apps.data.repositories.models import Lock
from apps.data.repositories.responses import for_lfs, lfs_json, spoken, words_of
from apps.data.repositories.smart_http import needs

PAGE = 100


@spoken(for_lfs)
def locks(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """GET lists, POST locks."""
    actor = by_token(request)
    needs(request, "GET", "POST")
    if request.method == "GET":
        place = to_read(actor, project, name)
        found = Lock.objects.filter(dataset=place.dataset)
        if path := request.GET.get("path"):
            found = found.filter(path=path)
        if key := request.GET.get("id"):
            found = found.filter(pk=number(key, "id"))
        page, after = paged(found, request.GET.get("cursor"), request.GET.get("limit"))
        return lfs_json({"locks": [shown(lock) for lock in page], **after})
    place = to_write(actor, project, name)
    path = json_of(request).get("path")
    if not isinstance(path, str):
        raise Invalid("There is no path.", field="path", limit="text")
    try:
        lock = services.lock_path(actor=actor, dataset=place.there(), path=path)
    except services.Locked as taken:
        return lfs_json({"lock": shown(taken.lock), "message": words_of(taken)}, status=taken.status)
    return lfs_json({"lock": shown(lock)}, status=201)


@spoken(for_lfs)
def verify(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST locks/verify, before every push: whose locks there are. None of a dataset that is not there yet."""
    actor = by_token(request)
    needs(request, "POST")
    place: Asked = to_write(actor, project, name)
    body = json_of(request)
    found = Lock.objects.filter(dataset=place.dataset) if place.dataset else Lock.objects.none()
    page, after = paged(found, body.get("cursor"), body.get("limit"))
    ours = [shown(lock) for lock in page if lock.is_of(actor)]
    theirs = [shown(lock) for lock in page if not lock.is_of(actor)]
    return lfs_json({"ours": ours, "theirs": theirs, **after})


@spoken(for_lfs)
def unlock(request: HttpRequest, project: str, name: str, key: str) -> HttpResponseBase:
    """POST locks/{id}/unlock {force}."""
    actor = by_token(request)
    needs(request, "POST")
    place = asked_for(actor, project, name)
    force = json_of(request).get("force") is True
    lock = Lock.objects.select_related("dataset").filter(dataset=place.there(), pk=number(key, "id")).first()
    if lock is None:
        raise NotFound("There is no such lock: it may be gone already.", field="id")
    about = shown(lock)
    services.unlock_path(actor=actor, lock=lock, force=force)
    return lfs_json({"lock": about})


def number(text: str, field: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("There is no such lock.", field=field)
    return int(text)


def counted(sent: Any, otherwise: int) -> int:
    """A whole number as text or number; `otherwise` for anything else, and for more digits than a key has."""
    text = sent if isinstance(sent, str) else str(sent) if isinstance(sent, int) and 0 <= sent < 10**18 else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else otherwise


def paged(found: QuerySet[Lock], cursor: Any, limit: Any) -> tuple[list[Lock], dict[str, str]]:
    """Locks in the order in which they were taken; `next_cursor` where there are more."""
    size = min(max(counted(limit, PAGE), 1), PAGE)
    after = counted(cursor, 0)
    rows = list(found.filter(pk__gt=after).order_by("pk")[: size + 1])
    return rows[:size], {"next_cursor": str(rows[size - 1].pk)} if len(rows) > size else {}


def shown(lock: Lock) -> dict[str, Any]:
    return {
        "id": str(lock.pk),
        "path": lock.path,
        "locked_at": lock.locked_at.isoformat().replace("+00:00", "Z"),
        "owner": {"name": lock.owner},
    }
