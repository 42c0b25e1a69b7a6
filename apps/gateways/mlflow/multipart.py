"""mlflow-artifacts/mpu/*: one file in several parts, which a client sends side by side to signed addresses."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.core.policy import require
from apps.gateways.mlflow import services, tickets
from apps.gateways.mlflow.files import clean_path, find_writable_owner, get_artifacts_root, stream_without_connection
from apps.gateways.mlflow.models import MultipartUpload
from apps.gateways.mlflow.request import MlflowCall, get_text_member, parse_int64, read_json_body
from apps.gateways.mlflow.responses import (
    MlflowError,
    build_json_response,
    invalid_parameter_error,
    missing_resource_error,
)
from apps.ml.experiments.files import tree
from apps.ml.experiments.files.tree import Owner
from apps.platform.artifacts.request_body import open_body as bytes_of

PATH = re.compile(r".*?/mlflow-artifacts/mpu/(create|complete|abort)/(.*)", re.DOTALL)


def handle_multipart_request(call: MlflowCall, path: str) -> HttpResponseBase:
    """.../mlflow-artifacts/mpu/(create|complete|abort)/<folder>"""
    match = PATH.fullmatch(path)
    if match is None:
        raise MlflowError("ENDPOINT_NOT_FOUND", f"This server has no /{path[:200]}.")
    if call.request.method != "POST":
        raise MlflowError("METHOD_NOT_ALLOWED", f"{call.request.method} is not a method of an upload in parts: POST.")
    body_call = MlflowCall(call.actor, call.project_id, call.slug, read_json_body(call.request), call.request)
    return build_json_response(OPERATIONS[match[1]](body_call, match[2]))


def start_multipart_upload(call: MlflowCall, folder: str) -> dict[str, Any]:
    """An upload, and for each of its parts where to send it."""
    place, owner, _ = resolve_target(call, folder)
    parts = call.get_integer("num_parts", 1)
    upload = services.start_upload(actor=call.actor, project=call.project, owner=owner, path=place, parts=parts)
    base = call.request.build_absolute_uri(f"{get_artifacts_root(call.request)}/parts/{upload.pk}")
    numbers = range(1, parts + 1)
    return {
        "upload_id": upload.pk,
        "credentials": [
            {"url": f"{base}/{n}?ticket={tickets.sign_part(call.actor, upload.pk, n)}", "part_number": n}
            for n in numbers
        ],
    }


def complete_multipart_upload(call: MlflowCall, folder: str) -> dict[str, Any]:
    _, owner, path = resolve_target(call, folder)
    upload = get_upload(call, folder)
    parts = {}
    for each in call.get_objects("parts"):
        number = parse_int64("part_number", each.get("part_number"))
        if not 1 <= number <= upload.parts:
            raise invalid_parameter_error(f"There is no part {number}: part_number must be from 1 to {upload.parts}.")
        parts[number] = get_text_member("parts", each, "etag").strip('"')
    digests = [parts.get(number, "") for number in range(1, upload.parts + 1)]
    services.complete_upload(actor=call.actor, upload=upload, owner=owner, path=path, parts=digests)
    return {}


def abort_multipart_upload(call: MlflowCall, folder: str) -> dict[str, Any]:
    services.abort_upload(actor=call.actor, upload=get_upload(call, folder))
    return {}


OPERATIONS = {"create": start_multipart_upload, "complete": complete_multipart_upload, "abort": abort_multipart_upload}


def receive_part(request: HttpRequest, path: str) -> HttpResponseBase:
    """.../mlflow-artifacts/parts/<upload>/<number>: the bytes of one part; the ticket stands for the token."""
    actor, upload_id, _number = tickets.read_part_ticket(request)
    if f"/{upload_id}/{_number}" != path[path.index("/parts/") + len("/parts") :]:
        raise tickets.stale_ticket_error()
    if request.method != "PUT":
        raise MlflowError("METHOD_NOT_ALLOWED", f"{request.method} is not a method of a part: PUT.")
    upload = MultipartUpload.objects.select_related("project").filter(pk=upload_id).first()
    if upload is None or upload.project_id not in actor.project_ids:
        raise services.missing_upload_error(upload_id)
    body = bytes_of(request)
    digest = services.stage_part(
        actor=actor, upload=upload, stream=stream_without_connection(body.chunks), size=body.length
    )
    return HttpResponse(b"", headers={"ETag": f'"{digest}"'})


def resolve_target(call: MlflowCall, folder: str) -> tuple[str, Owner, str]:
    """(path from the root of the store, its owner, the path in the owner's folder) of the file that is sent.

    A client names the file by where it lies on its own disk: only the last part of that counts.
    """
    require(call.actor, "run.track", call)
    name = re.split(r"[/\\]", call.require_text("path"))[-1]
    path = clean_path(f"{folder}/{name}")
    owner, place = find_writable_owner(call, path)
    if owner is None:
        raise missing_resource_error(f"No run and no model of this project keeps files at '{path[:200]}'.")
    if not name or not place.path:
        raise invalid_parameter_error("Invalid path")
    return path, owner, tree.normalize_path(place.path)


def get_upload(call: MlflowCall, folder: str) -> MultipartUpload:
    """The upload of this id to this very path."""
    upload_id, (path, _, _) = call.require_text("upload_id"), resolve_target(call, folder)
    rows = MultipartUpload.objects.select_related("project")
    row = rows.filter(pk=upload_id, project_id=call.project_id, path=path).first()
    if row is None:
        raise services.missing_upload_error(upload_id)
    return row
