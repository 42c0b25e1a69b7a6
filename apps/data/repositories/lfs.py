"""The LFS server: which objects are there, where each is sent or fetched. Its object ids are the store's digests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from apps.core.errors import Conflict, Invalid, Malformed, PlaneError, TooLarge
from apps.data.repositories import tickets
from apps.data.repositories.access import Asked, by_token, require_announced, to_read, to_write
from apps.data.repositories.responses import LFS, for_lfs, lfs_json, spoken
from apps.data.repositories.smart_http import needs
from apps.platform.artifacts.digests import DIGEST
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.request_body import body_of
from apps.platform.artifacts.services import require_room
from apps.platform.artifacts.stores import store
from deepseek.messages import N_, Message

OBJECTS_LIMIT = 1000  # git-lfs sends 100
ACCEPTED = (LFS, "application/*", "application/json", "*/*")


class NotAcceptable(PlaneError):
    status = 406
    code = "not_acceptable"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object of a batch; `fault` where it cannot be one."""

    oid: str
    size: int
    fault: str = ""


@spoken(for_lfs)
def batch(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST objects/batch: the actions for each object, in the order in which they were asked for."""
    actor = by_token(request)
    needs(request, "POST")
    require_accept(request)
    body = json_of(request)
    operation = body.get("operation")
    if operation not in (tickets.UPLOAD, tickets.DOWNLOAD):
        raise Invalid(
            "The operation is {operation!r:.40}.", operation=operation, field="operation", limit="upload, download"
        )
    place = (to_write if operation == tickets.UPLOAD else to_read)(actor, project, name)
    if operation == tickets.UPLOAD:
        require_announced(place)
    if body.get("hash_algo", "sha256") != "sha256":
        raise Conflict("Only sha256 is served.", code="hash_unknown", field="hash_algo", limit="sha256")
    transfers = body.get("transfers") or ["basic"]
    if not isinstance(transfers, list) or "basic" not in transfers:
        raise Invalid("No transfer is known to both sides.", field="transfers", limit="basic")
    wanted = read_objects(body.get("objects"))
    have = holdings(place, wanted)
    if operation == tickets.UPLOAD:  # what the store has lost, or in another size, is to be sent again
        for oid in store().lacking({oid: artifact.size for oid, artifact in have.items()}):
            del have[oid]
    answer = (uploads if operation == tickets.UPLOAD else downloads)(request, place, wanted, have)
    return lfs_json({"transfer": "basic", "objects": answer, "hash_algo": "sha256"})


def require_accept(request: HttpRequest) -> None:
    accept = request.headers.get("Accept", "*/*")
    if not any(part.partition(";")[0].strip().lower() in ACCEPTED for part in accept.split(",")):
        raise NotAcceptable("The answer is {lfs}.", lfs=LFS, field="Accept", limit=LFS)


def json_of(request: HttpRequest) -> dict[str, Any]:
    """The body as an object of JSON, within BODY_LIMIT_BYTES; Django's own reading knows no chunked one."""
    body, limit = body_of(request), settings.ENV.body_limit_bytes
    data = bytearray()
    for chunk in body.chunks:
        data += chunk
        if len(data) > limit:
            raise TooLarge(
                "The body is larger than {most} bytes.", most=limit, limit=limit, hint=N_("Ask for fewer objects.")
            )
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("The body is no JSON.", hint=Message("It is {lfs}.", lfs=LFS)) from None
    if not isinstance(found, dict):
        raise Malformed("The body is no object of JSON.")
    return found


def read_objects(sent: Any) -> list[Wanted]:
    if not isinstance(sent, list):
        raise Invalid("There is no list of objects.", field="objects", limit="[{oid, size}]")
    if len(sent) > OBJECTS_LIMIT:
        raise TooLarge("{count} objects at once.", count=len(sent), field="objects", limit=OBJECTS_LIMIT)
    return [read_object(each if isinstance(each, dict) else {}) for each in sent]


def read_object(each: Mapping[str, Any]) -> Wanted:
    oid, size = each.get("oid"), each.get("size")
    if not isinstance(oid, str) or not DIGEST.fullmatch(oid):
        return Wanted(str(oid)[:200], 0, "The oid is no SHA-256: 64 lower-case hex digits.")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        return Wanted(oid, 0, "The size is no whole number of bytes.")
    if size > settings.ENV.upload_limit_bytes:
        return Wanted(oid, size, f"An object may have {settings.ENV.upload_limit_bytes} bytes (UPLOAD_LIMIT_BYTES).")
    return Wanted(oid, size)


def holdings(place: Asked, wanted: Sequence[Wanted]) -> dict[str, Artifact]:
    """What the project holds of these, whole; what only others hold is not told."""
    oids = {each.oid for each in wanted if not each.fault}
    rows = Holding.objects.filter(project=place.project, artifact__in=oids, artifact__damaged_at=None)
    return {row.artifact_id: row.artifact for row in rows.select_related("artifact")}


def uploads(
    request: HttpRequest, place: Asked, wanted: Sequence[Wanted], have: Mapping[str, Artifact]
) -> list[dict[str, Any]]:
    lacking = {each.oid: each.size for each in wanted if not each.fault and each.oid not in have}
    require_room(place.project, sum(lacking.values()))
    return [upload_of(request, place, each, have.get(each.oid)) for each in wanted]


def upload_of(request: HttpRequest, place: Asked, each: Wanted, stored: Artifact | None) -> dict[str, Any]:
    if each.fault:
        return refused(each, 422, each.fault)
    if stored is not None and stored.size != each.size:
        return refused(
            each,
            422,
            Message(
                "The object has {stored_size} bytes, not {each_size}.", stored_size=stored.size, each_size=each.size
            ),
        )
    if stored is not None:
        return {"oid": each.oid, "size": each.size}  # without actions: it need not be sent
    actions = {
        "upload": action(request, place, each, tickets.UPLOAD, each.oid),
        "verify": action(request, place, each, tickets.UPLOAD, "verify"),
    }
    return {"oid": each.oid, "size": each.size, "authenticated": True, "actions": actions}


def downloads(
    request: HttpRequest, place: Asked, wanted: Sequence[Wanted], have: Mapping[str, Artifact]
) -> list[dict[str, Any]]:
    return [download_of(request, place, each, have.get(each.oid)) for each in wanted]


def download_of(request: HttpRequest, place: Asked, each: Wanted, stored: Artifact | None) -> dict[str, Any]:
    if each.fault:
        return refused(each, 422, each.fault)
    if stored is None:
        return refused(each, 404, Message("The project holds no such object."))
    if stored.size != each.size:
        return refused(
            each,
            422,
            Message(
                "The object has {stored_size} bytes, not {each_size}.", stored_size=stored.size, each_size=each.size
            ),
        )
    actions = {"download": action(request, place, each, tickets.DOWNLOAD, each.oid)}
    return {"oid": each.oid, "size": each.size, "authenticated": True, "actions": actions}


def refused(each: Wanted, code: int, message: str) -> dict[str, Any]:
    return {"oid": each.oid, "size": each.size, "error": {"code": code, "message": message}}


def action(request: HttpRequest, place: Asked, each: Wanted, operation: str, end: str) -> dict[str, Any]:
    """An absolute address as this client reached us, by whichever proxy and port."""
    ticket = tickets.signed(
        place.actor,
        operation=operation,
        project_id=place.project.pk,
        name=place.name,
        oid=each.oid,
        size=each.size,
    )
    at = reverse("repositories:at", args=[f"{place.project.slug}/{place.name}.git/info/lfs/objects/{end}"])
    href = request.build_absolute_uri(f"{at}?ticket={ticket}")
    return {"href": href, "expires_in": tickets.SECONDS}
