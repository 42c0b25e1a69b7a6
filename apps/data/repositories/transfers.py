"""LFS objects on their way in and out: straight into the artifact store under their digest, and from there."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.core.errors import Invalid, NotFound
from apps.data.repositories import tickets
from apps.data.repositories.access import Asked, by_token, to_read, to_write
from apps.data.repositories.folders import release_connection
from apps.data.repositories.lfs import json_of, read_object
from apps.data.repositories.responses import NO_CACHE, for_lfs, lfs_json, spoken
from apps.data.repositories.smart_http import needs
from apps.platform.artifacts.digests import checked_digest
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.request_body import Body, body_of, refuse_forms
from apps.platform.artifacts.services import get_holding, publish_upload
from deepseek.messages import N_


def asker(request: HttpRequest, project: str, name: str, oid: str, operation: str) -> tuple[Asked, int | None]:
    """By the ticket in the address, else by the Authorization header; the size that was announced to the ticket."""
    held = tickets.holder(request, operation=operation, name=name, oid=oid)
    actor, size = held or (by_token(request), None)
    request.actor = actor  # type: ignore[attr-defined]
    return (to_write if operation == tickets.UPLOAD else to_read)(actor, project, name), size


@spoken(for_lfs)
def lfs_object(request: HttpRequest, project: str, name: str, oid: str) -> HttpResponseBase:
    """GET and HEAD, whole or a range; PUT."""
    needs(request, "GET", "HEAD", "PUT")
    if request.method == "PUT":
        return put(request, project, name, oid)
    place, _ = asker(request, project, name, oid, tickets.DOWNLOAD)
    holding = get_holding(actor=place.actor, project=place.project, digest=checked_digest(oid))
    release_connection()
    return download(request, holding)


def put(request: HttpRequest, project: str, name: str, oid: str) -> HttpResponse:
    """Store the body under its digest. Cut off or damaged, nothing of it stays, and git-lfs sends it again."""
    place, announced = asker(request, project, name, oid, tickets.UPLOAD)
    checked_digest(oid)
    refuse_forms(request)
    body: Body = body_of(request)
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
        actor=place.actor,
        project=place.project,
        stream=body.chunks,
        expected_digest=oid,
        expected_size=body.length if body.length is not None else announced,
        name=f"{place.name}.lfs",
        may_be_empty=True,
    )
    return HttpResponse(status=201 if published.is_new else 200, headers=NO_CACHE)


@spoken(for_lfs)
def verify(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST {oid, size} after an upload: 200 if it is stored with that size, else 404."""
    needs(request, "POST")
    wanted = read_object(json_of(request))
    place, _ = asker(request, project, name, wanted.oid, tickets.UPLOAD)
    if wanted.fault:
        raise Invalid(wanted.fault, field="oid")
    held = place.project.holdings.filter(artifact=wanted.oid, artifact__size=wanted.size, artifact__damaged_at=None)
    if not held.exists():
        raise NotFound(
            "The project holds no object {oid} of {wanted_size} bytes.",
            oid=wanted.oid,
            wanted_size=wanted.size,
            hint=N_("Send it again."),
        )
    return lfs_json({})
