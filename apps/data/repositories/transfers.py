"""Upload and download LFS objects, straight to and from the artifact store by their digest."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.core.errors import Invalid, NotFound
from apps.data.repositories import tickets
from apps.data.repositories.access import RepositoryTarget, authenticate_token, get_readable_target, get_writable_target
from apps.data.repositories.folders import release_connection
from apps.data.repositories.lfs import read_json_object, read_object
from apps.data.repositories.responses import NO_CACHE, build_lfs_response, handle_protocol_errors, render_lfs_error
from apps.data.repositories.smart_http import require_method
from apps.platform.artifacts.digests import validate_digest
from apps.platform.artifacts.downloads import check_download, download
from apps.platform.artifacts.request_body import Body, open_body, refuse_forms
from apps.platform.artifacts.services import get_holding, publish_upload
from deepseek.messages import N_


def authenticate_transfer(
    request: HttpRequest, project: str, name: str, oid: str, operation: str
) -> tuple[RepositoryTarget, int | None]:
    """By the ticket in the address, else by the Authorization header; the size that was announced to the ticket."""
    holder = tickets.find_ticket_holder(request, operation=operation, name=name, oid=oid)
    actor, size = holder or (authenticate_token(request), None)
    request.actor = actor  # type: ignore[attr-defined]
    return (get_writable_target if operation == tickets.UPLOAD else get_readable_target)(actor, project, name), size


@handle_protocol_errors(render_lfs_error)
def handle_object(request: HttpRequest, project: str, name: str, oid: str) -> HttpResponseBase:
    """GET and HEAD, whole or a range; PUT."""
    require_method(request, "GET", "HEAD", "PUT")
    if request.method == "PUT":
        return store_object(request, project, name, oid)
    target, _ = authenticate_transfer(request, project, name, oid, tickets.DOWNLOAD)
    holding = get_holding(actor=target.actor, project=target.project, digest=validate_digest(oid))
    check_download(target.actor, holding, request)
    release_connection()
    return download(request, holding)


def store_object(request: HttpRequest, project: str, name: str, oid: str) -> HttpResponse:
    """Store the body under its digest. Cut off or damaged, nothing of it stays, and git-lfs sends it again."""
    target, announced = authenticate_transfer(request, project, name, oid, tickets.UPLOAD)
    validate_digest(oid)
    refuse_forms(request)
    body: Body = open_body(request)
    if announced is not None and body.length is not None and body.length != announced:
        raise Invalid(
            "The body has {length} bytes, announced were {announced}.",
            length=body.length,
            announced=announced,
            code="size_mismatch",
            limit=announced,
        )
    release_connection()
    published = publish_upload(
        actor=target.actor,
        project=target.project,
        stream=body.chunks,
        expected_digest=oid,
        expected_size=body.length if body.length is not None else announced,
        name=f"{target.name}.lfs",
        may_be_empty=True,
    )
    return HttpResponse(status=201 if published.is_new else 200, headers=NO_CACHE)


@handle_protocol_errors(render_lfs_error)
def verify_upload(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST {oid, size} after an upload: 200 if it is stored with that size, else 404."""
    require_method(request, "POST")
    requested = read_object(read_json_object(request))
    target, _ = authenticate_transfer(request, project, name, requested.oid, tickets.UPLOAD)
    if requested.fault:
        raise Invalid(requested.fault, field="oid")
    holdings = target.project.holdings.filter(
        artifact=requested.oid, artifact__size=requested.size, artifact__damaged_at=None
    )
    if not holdings.exists():
        raise NotFound(
            "The project holds no object {oid} of {wanted_size} bytes.",
            oid=requested.oid,
            wanted_size=requested.size,
            hint=N_("Send it again."),
        )
    return build_lfs_response({})
