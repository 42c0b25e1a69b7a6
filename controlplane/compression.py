"""Compress pages, data and the plane's own assets, with or without a proxy in front.

Not the bytes of artifacts, which are fetched in ranges and known by a digest as ETag, and not event streams.
"""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from whitenoise.middleware import WhiteNoiseFileResponse

COMPRESSED = frozenset(
    ["text/html", "text/css", "text/javascript", "application/javascript", "image/svg+xml", "application/json"]
)


class Compress(GZipMiddleware):
    """Django's gzip middleware (randomly padded against BREACH), for text assets and text that is not streamed."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        kind = response.get("Content-Type", "").partition(";")[0].strip().lower()
        asset = isinstance(response, WhiteNoiseFileResponse)
        if kind not in COMPRESSED or response.status_code == 206 or (response.streaming and not asset):
            return response
        return super().process_response(request, response)  # type: ignore[arg-type]
