"""Files in forms are written to a temporary file as they arrive, before any view or even the CSRF check has looked.

So the bound stands here: who is not signed in sends no more than a form without files may hold, the others no more
than one upload. A length that is not announced cannot pass: Django reads no chunked body.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from apps.core.actors import ANONYMOUS

AROUND = 2**20  # bytes: the other fields of the form and the boundaries


class BoundedUpload(TemporaryFileUploadHandler):
    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> None:
        """Refuse by the announced length, before the first byte is read."""
        stranger = getattr(self.request, "actor", ANONYMOUS).is_anonymous
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE if stranger else settings.ENV.upload_limit_bytes + AROUND
        if content_length > limit:
            raise RequestDataTooBig(f"A form of {content_length} bytes; {limit} are allowed.")
