"""The body of an upload as it comes off the wire, in chunks; nothing is kept in memory or in a temporary file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_header_parameters

from apps.core.errors import LengthRequired, Malformed, PlaneError
from deepseek.messages import N_

CHUNK = 1 << 20
FORMS = {"multipart/form-data", "application/x-www-form-urlencoded"}


class WrongMediaType(PlaneError):
    """A form, where the bytes themselves are wanted."""

    status = 415
    code = "unsupported_media_type"


@dataclass(frozen=True, slots=True)
class Body:
    """The chunks of a body, and its length as announced; None for a chunked one."""

    chunks: Iterator[bytes]
    length: int | None


def prevent_form_parsing(request: HttpRequest) -> None:
    """Give a form no fields: the CSRF check of a session looks at request.POST, which would read the whole body.

    Call it before authentication, and `refuse_forms` once it is clear that the sender may upload at all.
    """
    if request.content_type in FORMS:
        request.POST, request._files = QueryDict(), MultiValueDict()  # type: ignore[attr-defined]


def refuse_forms(request: HttpRequest) -> None:
    if request.content_type in FORMS:
        raise WrongMediaType(
            "The body is the file itself, not a form ({content_type}).",
            content_type=request.content_type,
            field="Content-Type",
            hint=N_("Send Content-Type: application/octet-stream, as curl -T FILE does by itself."),
        )


def open_body(request: HttpRequest) -> Body:
    """The body of this request. LengthRequired when neither its length nor its end can be known."""
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        # Django reads nothing without a Content-Length; the server's own stream knows its end, if it says so.
        if not request.META.get("wsgi.input_terminated"):
            raise build_length_error()
        return Body(iter_chunks(request), None)
    announced = request.META.get("CONTENT_LENGTH") or ""
    if not announced.isascii() or not announced.isdigit():
        raise build_length_error()
    return Body(iter(lambda: read(request), b""), int(announced))


def read(request: HttpRequest) -> bytes:
    """Up to CHUNK bytes. A client that left reads like an end; whoever knows the length compares."""
    try:
        return request.read(CHUNK)
    except OSError as error:
        raise build_cut_off_error() from error


def iter_chunks(request: HttpRequest) -> Iterator[bytes]:
    stream = request.META["wsgi.input"]
    while True:
        try:
            chunk = stream.read(CHUNK)
        except Exception as error:  # each server has its own classes for a chunk that is cut off or malformed
            raise build_cut_off_error() from error
        if not chunk:
            return
        yield chunk


def name_in(disposition: str | None) -> str:
    """The file name of a Content-Disposition header, or ""; RFC 6266's `filename*` included."""
    if not disposition:
        return ""
    try:
        return str(parse_header_parameters(disposition)[1].get("filename", ""))
    except (LookupError, ValueError):  # an encoding that nobody knows
        raise Malformed(
            "The Content-Disposition header cannot be read.",
            code="bad_disposition",
            field="Content-Disposition",
            limit="attachment; filename=\"name\", or filename*=UTF-8''name",
            hint=N_("RFC 6266 has examples; the header may also be left out."),
        ) from None


def build_cut_off_error() -> Malformed:
    return Malformed("The body ended early; nothing was stored.", code="body_cut_off", hint=N_("Send it again."))


def build_length_error() -> LengthRequired:
    return LengthRequired(
        "The length of the body is not known.", field="Content-Length", hint=N_("Send a Content-Length header.")
    )
