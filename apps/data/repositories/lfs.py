"""The LFS batch API: which objects exist, and where to upload or download each. Object ids are the store's digests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from apps.core.errors import Conflict, Invalid, Malformed, PlaneError, TooLarge
from apps.core.request_values import validate_choice
from apps.data.repositories import tickets
from apps.data.repositories.access import (
    RepositoryTarget,
    authenticate_token,
    get_readable_target,
    get_writable_target,
    require_announced,
)
from apps.data.repositories.responses import LFS, build_lfs_response, handle_protocol_errors, render_lfs_error
from apps.data.repositories.smart_http import require_method
from apps.platform.artifacts.digests import DIGEST
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.request_body import open_body
from apps.platform.artifacts.services import require_room
from apps.platform.artifacts.stores import get_store
from deepseek.messages import N_, Message

MAX_BATCH_OBJECTS = 1000  # git-lfs sends 100
ACCEPTED = (LFS, "application/*", "application/json", "*/*")


class NotAcceptable(PlaneError):
    status = 406
    code = "not_acceptable"


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """One object of a batch; `fault` where it cannot be one."""

    oid: str
    size: int
    fault: str = ""


@handle_protocol_errors(render_lfs_error)
def handle_batch(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """POST objects/batch: the actions for each object, in the order in which they were asked for."""
    actor = authenticate_token(request)
    require_method(request, "POST")
    require_accept(request)
    body = read_json_object(request)
    operation = str(body.get("operation"))
    message = N_("The operation is {found!r}.")
    validate_choice("operation", operation, (tickets.UPLOAD, tickets.DOWNLOAD), message, required=True)
    target = (get_writable_target if operation == tickets.UPLOAD else get_readable_target)(actor, project, name)
    if operation == tickets.UPLOAD:
        require_announced(target)
    if body.get("hash_algo", "sha256") != "sha256":
        raise Conflict("Only sha256 is served.", code="hash_unknown", field="hash_algo", limit="sha256")
    transfers = body.get("transfers") or ["basic"]
    if not isinstance(transfers, list) or "basic" not in transfers:
        raise Invalid("No transfer is known to both sides.", field="transfers", limit="basic")
    requested = read_objects(body.get("objects"))
    artifacts = get_held_artifacts(target, requested)
    if operation == tickets.UPLOAD:  # what the store has lost, or in another size, is to be sent again
        for oid in get_store().lacking({oid: artifact.size for oid, artifact in artifacts.items()}):
            del artifacts[oid]
    answer = (build_uploads if operation == tickets.UPLOAD else build_downloads)(request, target, requested, artifacts)
    return build_lfs_response({"transfer": "basic", "objects": answer, "hash_algo": "sha256"})


def require_accept(request: HttpRequest) -> None:
    accept = request.headers.get("Accept", "*/*")
    if not any(part.partition(";")[0].strip().lower() in ACCEPTED for part in accept.split(",")):
        raise NotAcceptable("The answer is {lfs}.", lfs=LFS, field="Accept", limit=LFS)


def read_json_object(request: HttpRequest) -> dict[str, Any]:
    """The body as an object of JSON, within BODY_LIMIT_BYTES; Django's own reading knows no chunked one."""
    body, limit = open_body(request), settings.ENV.body_limit_bytes
    data = bytearray()
    for chunk in body.chunks:
        data += chunk
        if len(data) > limit:
            raise TooLarge(
                "The body is larger than {most} bytes.", most=limit, limit=limit, hint=N_("Ask for fewer objects.")
            )
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("The body is no JSON.", hint=Message("It is {lfs}.", lfs=LFS)) from None
    if not isinstance(value, dict):
        raise Malformed("The body is no object of JSON.")
    return value


def read_objects(sent: Any) -> list[ObjectRequest]:
    if not isinstance(sent, list):
        raise Invalid("There is no list of objects.", field="objects", limit="[{oid, size}]")
    if len(sent) > MAX_BATCH_OBJECTS:
        raise TooLarge("{count} objects at once.", count=len(sent), field="objects", limit=MAX_BATCH_OBJECTS)
    return [read_object(each if isinstance(each, dict) else {}) for each in sent]


def read_object(each: Mapping[str, Any]) -> ObjectRequest:
    oid, size = each.get("oid"), each.get("size")
    if not isinstance(oid, str) or not DIGEST.fullmatch(oid):
        return ObjectRequest(str(oid)[:200], 0, "The oid is no SHA-256: 64 lower-case hex digits.")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        return ObjectRequest(oid, 0, "The size is no whole number of bytes.")
    if size > settings.ENV.upload_limit_bytes:
        return ObjectRequest(
            oid, size, f"An object may have {settings.ENV.upload_limit_bytes} bytes (UPLOAD_LIMIT_BYTES)."
        )
    return ObjectRequest(oid, size)


def get_held_artifacts(target: RepositoryTarget, requested: Sequence[ObjectRequest]) -> dict[str, Artifact]:
    """What the project holds of these, whole; what only others hold is not told."""
    oids = {each.oid for each in requested if not each.fault}
    rows = Holding.objects.readable_by(target.actor).filter(
        project=target.project, artifact__in=oids, artifact__damaged_at=None
    )
    return {row.artifact_id: row.artifact for row in rows.select_related("artifact")}


def build_uploads(
    request: HttpRequest,
    target: RepositoryTarget,
    requested: Sequence[ObjectRequest],
    artifacts: Mapping[str, Artifact],
) -> list[dict[str, Any]]:
    missing = {each.oid: each.size for each in requested if not each.fault and each.oid not in artifacts}
    require_room(target.project, sum(missing.values()))
    return [build_upload(request, target, each, artifacts.get(each.oid)) for each in requested]


def build_upload(
    request: HttpRequest, target: RepositoryTarget, each: ObjectRequest, stored: Artifact | None
) -> dict[str, Any]:
    if each.fault:
        return build_object_error(each, 422, each.fault)
    if stored is not None and stored.size != each.size:
        return build_object_error(
            each,
            422,
            Message(
                "The object has {stored_size} bytes, not {each_size}.", stored_size=stored.size, each_size=each.size
            ),
        )
    if stored is not None:
        return {"oid": each.oid, "size": each.size}  # without actions: it need not be sent
    actions = {
        "upload": build_action(request, target, each, tickets.UPLOAD, each.oid),
        "verify": build_action(request, target, each, tickets.UPLOAD, "verify"),
    }
    return {"oid": each.oid, "size": each.size, "authenticated": True, "actions": actions}


def build_downloads(
    request: HttpRequest,
    target: RepositoryTarget,
    requested: Sequence[ObjectRequest],
    artifacts: Mapping[str, Artifact],
) -> list[dict[str, Any]]:
    return [build_download(request, target, each, artifacts.get(each.oid)) for each in requested]


def build_download(
    request: HttpRequest, target: RepositoryTarget, each: ObjectRequest, stored: Artifact | None
) -> dict[str, Any]:
    if each.fault:
        return build_object_error(each, 422, each.fault)
    if stored is None:
        return build_object_error(each, 404, Message("The project holds no such object."))
    if stored.size != each.size:
        return build_object_error(
            each,
            422,
            Message(
                "The object has {stored_size} bytes, not {each_size}.", stored_size=stored.size, each_size=each.size
            ),
        )
    actions = {"download": build_action(request, target, each, tickets.DOWNLOAD, each.oid)}
    return {"oid": each.oid, "size": each.size, "authenticated": True, "actions": actions}


def build_object_error(each: ObjectRequest, code: int, message: str) -> dict[str, Any]:
    return {"oid": each.oid, "size": each.size, "error": {"code": code, "message": message}}


def build_action(
    request: HttpRequest, target: RepositoryTarget, each: ObjectRequest, operation: str, end: str
) -> dict[str, Any]:
    """An absolute address as this client reached us, by whichever proxy and port."""
    ticket = tickets.sign_ticket(
        target.actor,
        operation=operation,
        project_id=target.project.pk,
        name=target.name,
        oid=each.oid,
        size=each.size,
    )
    at = reverse("repositories:at", args=[f"{target.project.slug}/{target.name}.git/info/lfs/objects/{end}"])
    href = request.build_absolute_uri(f"{at}?ticket={ticket}")
    return {"href": href, "expires_in": tickets.SECONDS}
