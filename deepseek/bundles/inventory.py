"""An inventory read as a stream: five million digests are 340 MB of text, of which a bundle needs a few.

It is in canonical form, as `encode_inventory` writes it: ``{"created":"...","digests":["...","..."],"plane":{...},
"schema":"..."}``. So its digests stand in records of one length, and what is around them is short.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from deepseek.bundles.errors import TransferError
from deepseek.bundles.spec import (
    INVENTORY_SCHEMA,
    MAX_INVENTORY_DIGESTS,
    PlaneRef,
)
from deepseek.signing.documents import DIGEST, Fields, encode_canonical, read_json_object
from deepseek.signing.errors import SigningError

WHAT = "The inventory"
LIST_BEGINS = b'"digests":['
RECORD_BYTES = 67  # a digest in quotes, and what follows it: a comma, or the end of the list
MAX_AROUND_BYTES = 64 << 10  # of everything but the digests
HINT = "Export it on the target: deepseek bundle inventory -o inventory.json"


@dataclass(frozen=True)
class Inventory:
    """What a target holds, so that a bundle for it carries what it lacks. `digest`: SHA-256 of its text."""

    plane: PlaneRef
    created: str
    digests: frozenset[str]
    digest: str

    @classmethod
    def parse(cls, text: bytes) -> Inventory:
        """Raises TransferError ``inventory_malformed``."""
        return read_inventory([text])


def read_inventory(chunks: Iterable[bytes], wanted: Container[str] | None = None) -> Inventory:
    """The inventory of a text in chunks, whose `digests` are those that are `wanted`; None: all of them.

    Memory is that of the digests that are kept. Raises TransferError ``inventory_malformed``.
    """
    reader = InventoryReader(wanted)
    sha256 = hashlib.sha256()
    for chunk in chunks:
        sha256.update(chunk)
        reader.feed(chunk)
    return reader.finish(sha256.hexdigest())


class InventoryReader:
    """Takes the text piece by piece: what stands before the list, the list, and what stands behind it."""

    def __init__(self, wanted: Container[str] | None) -> None:
        self.wanted = wanted
        self.digests: set[str] = set()
        self.count = 0
        self.head, self.rest, self.tail = b"", b"", b""
        self.part = "head"

    def feed(self, chunk: bytes) -> None:
        if self.part == "head":
            self.head += chunk
            place = self.head.find(LIST_BEGINS)
            if place < 0:
                self.check_length(len(self.head))
                return
            end = place + len(LIST_BEGINS)
            self.head, chunk = self.head[:end], self.head[end:]
            self.check_length(len(self.head))
            self.part = "list"
        if self.part == "list":
            chunk = self.read_records(self.rest + chunk)
        if self.part == "tail":
            self.tail += chunk
            self.check_length(len(self.tail))

    def read_records(self, data: bytes) -> bytes:
        """Take the whole records; returns what stands behind the list, once it has ended."""
        if not self.count and data.startswith(b"]"):
            self.part, self.rest = "tail", b""
            return data
        place = 0
        while len(data) - place >= RECORD_BYTES:
            record = data[place : place + RECORD_BYTES]
            place += RECORD_BYTES
            self.take(record)
            if record.endswith(b"]"):
                self.part, self.rest = "tail", b""
                return data[place - 1 :]
        self.rest = data[place:]
        return b""

    def take(self, record: bytes) -> None:
        digest = record[1:65].decode("ascii", "replace")
        marks = record[:1] + record[65:]
        if marks not in (b'"",', b'""]') or not DIGEST.fullmatch(digest):
            raise build_inventory_error(f"/digests/{self.count}", "it is no digest", digest, "64 hex digits")
        self.count += 1
        if self.count > MAX_INVENTORY_DIGESTS:
            limit = f"{MAX_INVENTORY_DIGESTS}"
            raise build_inventory_error("/digests", "it has too many digests", str(self.count), limit)
        if self.wanted is None or digest in self.wanted:
            self.digests.add(digest)

    def check_length(self, size: int) -> None:
        if size > MAX_AROUND_BYTES:
            limit = "as `deepseek bundle inventory` writes it"
            raise build_inventory_error("", "it is not in canonical form", f"{size} bytes", limit)

    def finish(self, digest: str) -> Inventory:
        around = self.head + self.tail
        try:
            document: dict[str, Any] = read_json_object(around, WHAT, max_bytes=2 * MAX_AROUND_BYTES)
            fields = Fields(document, WHAT)
            fields.read_choice("schema", INVENTORY_SCHEMA)
            plane, created = PlaneRef.read(fields.read_object("plane")), fields.read_time("created")
            fields.read_list("digests", high=0)
        except SigningError as error:
            raise TransferError(
                "inventory_malformed",
                error.message,
                field=error.field,
                value=error.value,
                limit=error.limit,
                hint=HINT,
            ) from None
        if encode_canonical(document) != around:
            limit = "as `deepseek bundle inventory` writes it"
            raise build_inventory_error("", "it is not in canonical form", "", limit)
        return Inventory(plane, created, frozenset(self.digests), digest)


def build_inventory_error(field: str, fault: str, value: str, limit: str) -> TransferError:
    return TransferError(
        "inventory_malformed",
        "The inventory is not accepted: {fault}.",
        fault=fault,
        field=field,
        value=value,
        limit=limit,
        hint=HINT,
    )
