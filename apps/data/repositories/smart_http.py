"""Git's smart HTTP: references, fetches and pushes. The old protocol of plain files is not spoken."""

from __future__ import annotations

from pathlib import Path

from django.http import HttpRequest, HttpResponseBase

from apps.core.errors import Malformed, NotFound, PlaneError, WrongMethod
from apps.data.repositories import folders, http_backend
from apps.data.repositories.access import Asked, announce_push, by_token, to_read, to_write
from apps.data.repositories.receive_pack import receive
from apps.data.repositories.responses import for_git, for_lfs, spoken
from deepseek.messages import N_

FETCH, PUSH = "git-upload-pack", "git-receive-pack"


class NotSmart(PlaneError):
    """The old protocol."""

    status = 403
    code = "smart_http_only"


def needs(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise WrongMethod("{method} is not for this address.", method=request.method, limit=", ".join(methods))


@spoken(for_git)
def references(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """GET info/refs?service=...: what there is, and the first check of what the asker may."""
    actor = by_token(request)
    needs(request, "GET")
    service = request.GET.get("service", "")
    if service not in (FETCH, PUSH):
        raise NotSmart("Only Git's smart HTTP is served here.", field="service", hint=N_("Use git 1.6.6 or newer."))
    if service == FETCH:
        return refer(request, to_read(actor, project, name))
    place = to_write(actor, project, name)
    if place.dataset is not None:
        return refer(request, place)
    announce_push(place)
    with folders.passing() as folder:  # an empty one: the dataset is made when something has been pushed to it
        return said(request, place, folder)


def refer(request: HttpRequest, place: Asked) -> HttpResponseBase:
    return said(request, place, folders.up_to_date(place.there()))


def said(request: HttpRequest, place: Asked, folder: Path) -> HttpResponseBase:
    """The references are few: one branch."""
    env = http_backend.cgi_environment(request, place.actor, folder, "info/refs", None)
    folders.release_connection()
    return http_backend.gathered(env, folder)


@spoken(for_git)
def fetch(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST git-upload-pack."""
    actor = by_token(request)
    needs(request, "POST")
    place = to_read(actor, project, name)
    require_type(request, FETCH)
    folder = folders.up_to_date(place.there())
    folders.release_connection()
    body = http_backend.spooled(request, http_backend.FETCH_LIMIT)
    with body:  # the child has a descriptor of its own
        env = http_backend.cgi_environment(request, actor, folder, FETCH, http_backend.length_of(body))
        return http_backend.streamed(env, folder, body)


@spoken(for_git)
def push(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST git-receive-pack: the pack, which the plane looks at before Git takes it in."""
    actor = by_token(request)
    needs(request, "POST")
    place = to_write(actor, project, name)
    require_type(request, PUSH)
    return receive(request, place)


def require_type(request: HttpRequest, service: str) -> None:
    wanted = f"application/x-{service}-request"
    if request.content_type != wanted:
        raise Malformed(
            "The body is {content_type!r}.", content_type=request.content_type, field="Content-Type", limit=wanted
        )


@spoken(for_git)
def nothing(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Whatever else is asked below the prefix; who sends no token learns not even that."""
    by_token(request)
    raise NotFound("There is no such repository, or nothing at this address of it.")


@spoken(for_lfs)
def nothing_of_lfs(request: HttpRequest, project: str, name: str, rest: str = "") -> HttpResponseBase:
    by_token(request)
    raise NotFound("The LFS server has nothing at this address.")
