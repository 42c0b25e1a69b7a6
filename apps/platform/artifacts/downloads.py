"""Sending an artifact: whole, a range of it, or only the word that the client has it already (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header, parse_etags

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.registry import Registry
from apps.platform.artifacts.digests import as_rfc_9530
from apps.platform.artifacts.download_volume import count_download
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.artifacts.verification import open_verified, release_connection, require_size
from deepseek.messages import N_

DOWNLOAD_CHECKS: Registry[Callable[[Actor, Holding, str], None]] = Registry("DOWNLOAD_CHECKS")
"""By app: (actor, holding, purpose) raises Refused where the bytes must not leave for this purpose, or records it."""
RANGE = re.compile(r"bytes=(\d{0,20})-(\d{0,20})", re.ASCII)


class RangeNotSatisfiable(PlaneError):
    """The range begins behind the end."""

    status = 416
    code = "range_not_satisfiable"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def check_download(actor: Actor, holding: Holding, request: HttpRequest) -> None:
    """Call before bytes are sent to a person; the purpose is the query parameter `purpose` or the header X-Purpose."""
    purpose = request.GET.get("purpose") or request.headers.get("X-Purpose") or ""
    for check in DOWNLOAD_CHECKS.values():
        check(actor, holding, purpose.replace("\x00", "").strip())


def download(request: HttpRequest, holding: Holding) -> HttpResponseBase:
    """200, 206, 304 or 416 for a holding that the actor may see; DamagedBytes when there are no right bytes to send.

    Damage that is found in a later chunk is raised into the server, so that the connection breaks before that chunk: a
    short answer must not pass for a whole one.
    """
    artifact = holding.artifact
    require_size(get_store(), artifact)
    etag = f'"sha256:{artifact.digest}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",  # whether the asker may still see it is asked each time
    }
    if is_not_modified(request, etag):
        return HttpResponse(status=304, headers=headers)
    headers |= {
        "Content-Type": holding.media_type,
        "Content-Disposition": content_disposition_header(True, holding.name or artifact.digest) or "attachment",
        "Content-Security-Policy": "sandbox; default-src 'none'",  # an uploaded page must not run here as ours
        "Repr-Digest": as_rfc_9530(artifact.digest),
    }
    size = artifact.size
    span = parse_range(request, size, etag)
    if isinstance(span, RangeNotSatisfiable):
        return JsonResponse(span.as_dict(), status=span.status, headers={"Content-Range": f"bytes */{size}"})
    start, end = (span.start, span.end) if span else (0, size)
    if span:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return HttpResponse(headers=headers)
    reading = open_verified(artifact, start, end, is_size_checked=True)
    count_download(getattr(request, "actor", None), artifact, end - start)
    release_connection()
    return StreamingHttpResponse(reading, status=206 if span else 200, headers=headers)


def is_not_modified(request: HttpRequest, etag: str) -> bool:
    client_tags = {tag.removeprefix("W/") for tag in parse_etags(request.headers.get("If-None-Match", ""))}
    return etag in client_tags or "*" in client_tags


def parse_range(request: HttpRequest, size: int, etag: str) -> Span | RangeNotSatisfiable | None:
    """The one range that was asked for; None (send it whole) for none, several, or one that cannot be read."""
    match = RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if match is None or request.method != "GET" or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(size - int(last), 0), size  # the last n bytes
        if not int(last):
            start = size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        return RangeNotSatisfiable(
            "The range begins at {start}, the artifact has {size} bytes.",
            start=start,
            size=size,
            field="Range",
            limit=size,
            hint=N_("Ask for a range within it, or leave the header out."),
        )
    return Span(start, end)
