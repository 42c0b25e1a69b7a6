"""Git's smart HTTP: references, fetches and pushes. The dumb protocol is not supported."""

from __future__ import annotations

from pathlib import Path

from django.http import HttpRequest, HttpResponseBase

from apps.core.errors import Malformed, NotFound, PlaneError, WrongMethod
from apps.data.repositories import folders, http_backend
from apps.data.repositories.access import (
    RepositoryTarget,
    announce_push,
    authenticate_token,
    get_readable_target,
    get_writable_target,
)
from apps.data.repositories.receive_pack import receive_push
from apps.data.repositories.responses import handle_protocol_errors, render_git_error, render_lfs_error
from deepseek.messages import N_

FETCH, PUSH = "git-upload-pack", "git-receive-pack"


class NotSmart(PlaneError):
    """The old protocol."""

    status = 403
    code = "smart_http_only"


def require_method(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise WrongMethod("{method} is not for this address.", method=request.method, limit=", ".join(methods))


@handle_protocol_errors(render_git_error)
def handle_references(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """GET info/refs?service=...: what there is, and the first check of what the asker may."""
    actor = authenticate_token(request)
    require_method(request, "GET")
    service = request.GET.get("service", "")
    if service not in (FETCH, PUSH):
        raise NotSmart("Only Git's smart HTTP is served here.", field="service", hint=N_("Use git 1.6.6 or newer."))
    if service == FETCH:
        return answer_references(request, get_readable_target(actor, project, name))
    target = get_writable_target(actor, project, name)
    if target.dataset is not None:
        return answer_references(request, target)
    announce_push(target)
    with (
        folders.open_temporary_repository() as folder
    ):  # an empty one: the dataset is made when something has been pushed to it
        return advertise_references(request, target, folder)


def answer_references(request: HttpRequest, target: RepositoryTarget) -> HttpResponseBase:
    return advertise_references(request, target, folders.ensure_current_folder(target.require_dataset()))


def advertise_references(request: HttpRequest, target: RepositoryTarget, folder: Path) -> HttpResponseBase:
    """The references are few: one branch."""
    env = http_backend.build_cgi_environment(request, target.actor, folder, "info/refs", None)
    folders.release_connection()
    return http_backend.collect_answer(env, folder)


@handle_protocol_errors(render_git_error)
def fetch(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST git-upload-pack."""
    actor = authenticate_token(request)
    require_method(request, "POST")
    target = get_readable_target(actor, project, name)
    require_type(request, FETCH)
    folder = folders.ensure_current_folder(target.require_dataset())
    folders.release_connection()
    body = http_backend.spool_body(request, http_backend.FETCH_LIMIT)
    with body:  # the child has a descriptor of its own
        env = http_backend.build_cgi_environment(request, actor, folder, FETCH, http_backend.get_length(body))
        return http_backend.stream_answer(env, folder, body)


@handle_protocol_errors(render_git_error)
def push(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST git-receive-pack: the pack, which the plane looks at before Git takes it in."""
    actor = authenticate_token(request)
    require_method(request, "POST")
    target = get_writable_target(actor, project, name)
    require_type(request, PUSH)
    return receive_push(request, target)


def require_type(request: HttpRequest, service: str) -> None:
    expected = f"application/x-{service}-request"
    if request.content_type != expected:
        raise Malformed(
            "The body is {content_type!r}.", content_type=request.content_type, field="Content-Type", limit=expected
        )


@handle_protocol_errors(render_git_error)
def refuse_git_address(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    """Whatever else is asked below the prefix; who sends no token learns not even that."""
    authenticate_token(request)
    raise NotFound("There is no such repository, or nothing at this address of it.")


@handle_protocol_errors(render_lfs_error)
def refuse_lfs_address(request: HttpRequest, project: str, name: str, rest: str = "") -> HttpResponseBase:
    authenticate_token(request)
    raise NotFound("The LFS server has nothing at this address.")
