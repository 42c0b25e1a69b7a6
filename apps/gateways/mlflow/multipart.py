"""mlflow-artifacts/mpu/*: one file in several parts, which a client sends side by side to signed addresses."""

from __future__ import annotations

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.core.policy import require
from apps.gateways.mlflow import services, tickets
from apps.gateways.mlflow.files import clean, released, root_of, writable
from apps.gateways.mlflow.models import MultipartUpload
from apps.gateways.mlflow.request import Ask, body_of, member, whole
from apps.gateways.mlflow.responses import MlflowError, absent, answered, wrong
from apps.ml.experiments.files import tree
from apps.ml.experiments.files.tree import Owner
from apps.platform.artifacts.request_body import body_of as bytes_of

PATH = re.compile(r".*?/mlflow-artifacts/mpu/(create|complete|abort)/(.*)", re.DOTALL)


def calls(ask: Ask, path: str) -> HttpResponseBase:
    """.../mlflow-artifacts/mpu/(create|complete|abort)/<folder>"""
    match = PATH.fullmatch(path)
    if match is None:
        raise MlflowError("ENDPOINT_NOT_FOUND", f"This server has no /{path[:200]}.")
    if ask.request.method != "POST":
        raise MlflowError("METHOD_NOT_ALLOWED", f"{ask.request.method} is not a method of an upload in parts: POST.")
    said = Ask(ask.actor, ask.project_id, ask.slug, body_of(ask.request), ask.request)
    return answered(CALLS[match[1]](said, match[2]))


def create(ask: Ask, folder: str) -> dict[str, Any]:
    """An upload, and for each of its parts where to send it."""
    place, owner, _ = target(ask, folder)
    parts = ask.integer("num_parts", 1)
    upload = services.begin_upload(actor=ask.actor, project=ask.project, owner=owner, path=place, parts=parts)
    base = ask.request.build_absolute_uri(f"{root_of(ask.request)}/parts/{upload.pk}")
    numbers = range(1, parts + 1)
    return {
        "upload_id": upload.pk,
        "credentials": [
            {"url": f"{base}/{n}?ticket={tickets.for_part(ask.actor, upload.pk, n)}", "part_number": n} for n in numbers
        ],
    }


def complete(ask: Ask, folder: str) -> dict[str, Any]:
    _, owner, path = target(ask, folder)
    upload = found(ask, folder)
    parts = {}
    for each in ask.items("parts"):
        number = whole("part_number", each.get("part_number"))
        if not 1 <= number <= upload.parts:
            raise wrong(f"There is no part {number}: part_number must be from 1 to {upload.parts}.")
        parts[number] = member("parts", each, "etag").strip('"')
    digests = [parts.get(number, "") for number in range(1, upload.parts + 1)]
    services.complete_upload(actor=ask.actor, upload=upload, owner=owner, path=path, parts=digests)
    return {}


def abort(ask: Ask, folder: str) -> dict[str, Any]:
    services.abort_upload(actor=ask.actor, upload=found(ask, folder))
    return {}


CALLS = {"create": create, "complete": complete, "abort": abort}


def part(request: HttpRequest, path: str) -> HttpResponseBase:
    """.../mlflow-artifacts/parts/<upload>/<number>: the bytes of one part; the ticket stands for the token."""
    actor, upload_id, _number = tickets.part_of(request)
    if f"/{upload_id}/{_number}" != path[path.index("/parts/") + len("/parts") :]:
        raise tickets.stale()
    if request.method != "PUT":
        raise MlflowError("METHOD_NOT_ALLOWED", f"{request.method} is not a method of a part: PUT.")
    upload = MultipartUpload.objects.select_related("project").filter(pk=upload_id).first()
    if upload is None or upload.project_id not in actor.project_ids:
        raise services.no_upload(upload_id)
    body = bytes_of(request)
    digest = services.stage_part(actor=actor, upload=upload, stream=released(body.chunks), size=body.length)
    return HttpResponse(b"", headers={"ETag": f'"{digest}"'})


def target(ask: Ask, folder: str) -> tuple[str, Owner, str]:
    """(path from the root of the store, its owner, the path in the owner's folder) of the file that is sent.

    A client names the file by where it lies on its own disk: only the last part of that counts.
    """
    require(ask.actor, "run.track", ask)
    name = re.split(r"[/\\]", ask.required("path"))[-1]
    path = clean(f"{folder}/{name}")
    owner, place = writable(ask, path)
    if owner is None:
        raise absent(f"No run and no model of this project keeps files at '{path[:200]}'.")
    if not name or not place.path:
        raise wrong("Invalid path")
    return path, owner, tree.checked_path(place.path)


def found(ask: Ask, folder: str) -> MultipartUpload:
    """The upload of this id to this very path."""
    upload_id, (path, _, _) = ask.required("upload_id"), target(ask, folder)
    rows = MultipartUpload.objects.select_related("project")
    row = rows.filter(pk=upload_id, project_id=ask.project_id, path=path).first()
    if row is None:
        raise services.no_upload(upload_id)
    return row
