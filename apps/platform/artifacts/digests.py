"""SHA-256 as a name: what it looks like in an address, a header and a path."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from apps.core.errors import Invalid
from deepseek.messages import N_

DIGEST = re.compile(r"[0-9a-f]{64}")
HASH_BYTES = 32
CHUNK_BYTES = 1 << 20  # of an artifact that a digest of its own covers: read, verified and sent in one piece


class ContentHash:
    """SHA-256 of a stream and, `with_chunks`, of each of its chunks of CHUNK_BYTES.

    `update` does both; `update_whole` and `update_chunks` may be called by two threads, each with all bytes in order.
    """

    def __init__(self, *, with_chunks: bool = True) -> None:
        self.size = 0
        self.with_chunks = with_chunks
        self._whole = hashlib.sha256()
        self._first = b""  # the digest of the first chunk is that of the whole so far
        self._seen = 0  # by update_chunks
        self._chunk = hashlib.sha256()
        self._others = bytearray()  # the digests of the other chunks that are complete

    def update(self, data: bytes | memoryview) -> None:
        self.update_whole(data)
        self.update_chunks(data)

    def update_whole(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        if self.size < CHUNK_BYTES <= self.size + len(rest):
            room = CHUNK_BYTES - self.size
            self._whole.update(rest[:room])
            self._first = self._whole.digest()
            rest = rest[room:]
        self._whole.update(rest)
        self.size += len(data)

    def update_chunks(self, data: bytes | memoryview) -> None:
        if not self.with_chunks:
            return
        rest = memoryview(data)[max(0, CHUNK_BYTES - self._seen) :]
        self._seen += len(data) - len(rest)
        while rest:
            room = CHUNK_BYTES - self._seen % CHUNK_BYTES
            part, rest = rest[:room], rest[room:]
            self._chunk.update(part)
            self._seen += len(part)
            if len(part) == room:
                self._others += self._chunk.digest()
                self._chunk = hashlib.sha256()

    def hexdigest(self) -> str:
        return self._whole.hexdigest()

    def chunks(self) -> bytes:
        """The digests of all chunks in order; empty where none was computed, or one that the whole covers is all."""
        if self.size <= CHUNK_BYTES or not self.with_chunks:
            return b""
        return self._first + self._others + (self._chunk.digest() if self._seen % CHUNK_BYTES else b"")


def validate_digest(text: str, *, field: str = "digest") -> str:
    """`text` if it is 64 lower-case hex digits, else Invalid. Every path and key is built behind this."""
    if not DIGEST.fullmatch(text):
        raise Invalid(
            "{text!r} is no SHA-256 digest.",
            text=text[:80],
            code="bad_digest",
            field=field,
            limit="64 lower-case hex digits",
            hint=N_("sha256sum FILE prints it."),
        )
    return text


def parse_expected_digest(content_digest: str | None, header: str | None) -> str | None:
    """The SHA-256 that the client announced, in hex, or None.

    `content_digest` is the header of RFC 9530 (`sha-256=:<base64>:`, other algorithms are passed over), `plain`
    ours (`X-Content-Digest: sha256:<hex>`). Raises Invalid for one that cannot be read, or for two that differ.
    """
    digests = {digest for digest in (from_rfc_9530(content_digest or ""), from_plain(header)) if digest}
    if len(digests) > 1:
        raise Invalid("The two digest headers differ.", code="bad_digest", field="Content-Digest", hint=N_("Send one."))
    return digests.pop() if digests else None


def from_plain(header: str | None) -> str | None:
    return validate_digest(header.strip().removeprefix("sha256:"), field="X-Content-Digest") if header else None


def from_rfc_9530(header: str) -> str | None:
    for member in header.split(","):
        algorithm, _, value = member.strip().partition("=")
        if algorithm.lower() != "sha-256":
            continue
        try:
            raw = base64.b64decode(value.strip().strip(":"), validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) != HASH_BYTES:
            raise Invalid(
                "Content-Digest {found!r} cannot be read.",
                found=value[:80],
                code="bad_digest",
                field="Content-Digest",
                limit="sha-256=:<base64 of 32 bytes>:",
                hint=N_("RFC 9530 has examples; the header may also be left out."),
            )
        return raw.hex()
    return None


def as_rfc_9530(digest: str) -> str:
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def build_mismatch_error(expected: str, actual: str) -> Invalid:
    """The bytes are not those that were announced."""
    return Invalid(
        "The body has the SHA-256 {actual}, announced was {expected}.",
        actual=actual,
        expected=expected,
        code="digest_mismatch",
        field="digest",
        limit=expected,
        hint=N_("The transfer damaged it, or the file changed: compute the digest again and send again."),
    )
