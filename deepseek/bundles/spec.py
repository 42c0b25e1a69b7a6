"""The documents of a bundle: its manifest, the manifest of a volume, and the inventory that it was built against.

A bundle is a folder: ``bundle.json`` (what two people sign), ``bundle.dsse.json`` (their signatures over it) and
``volume-0001.tar``, ``volume-0002.tar``... with the objects, each named by its SHA-256. The manifest names every volume
by the digest of that volume's own manifest, which names every object in it by digest: so one pass over the bytes
verifies them, and a volume is verified without the others. Standard library and cryptography only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from deepseek.bundles.errors import TransferError
from deepseek.signing.documents import Fields, compute_digest, encode_canonical, read_json_object
from deepseek.signing.errors import SigningError

BUNDLE_TYPE = "application/vnd.plane.bundle+json"
"""The payload type of the envelope (DSSE)."""
SCHEMA, VOLUME_SCHEMA, INVENTORY_SCHEMA = "plane/bundle/v1", "plane/bundle-volume/v1", "plane/bundle-inventory/v1"
MANIFEST_FILE, ENVELOPE_FILE = "bundle.json", "bundle.dsse.json"
SIGNERS_NEEDED = 2  # different people, each with a key of their own
PLANE_ID = re.compile(r"[0-9a-f]{32}")
ID_LIMIT = "32 hex digits in lower case"

MAX_MANIFEST_BYTES = 1 << 20
MAX_VOLUMES = 2_000
MAX_CONTENTS = 2_000
MAX_VOLUME_MANIFEST_BYTES = 64 << 20
MAX_PARTS = 200_000  # of a volume
MAX_INVENTORY_BYTES = 512 << 20
MAX_INVENTORY_DIGESTS = 5_000_000
MIN_VOLUME_BYTES, MAX_VOLUME_BYTES = 1 << 20, 1 << 40
DEFAULT_VOLUME_BYTES = 4_000_000_000  # fits on a DVD, and on file systems that end at 4 GiB
PART_BYTES = 4 << 30  # a longer object goes in parts: the headers of the container end at 8 GiB
MAX_BYTES = 1 << 50
CONTENT_KINDS = ("dataset_version", "model_version", "run", "image", "package", "advisories", "conflicts")


@dataclass(frozen=True)
class PlaneRef:
    """A plane by its own id, and the name that people know it by."""

    id: str
    name: str

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.read_text("id", pattern=PLANE_ID, limit=ID_LIMIT), fields.read_text("name", max_length=200))

    def to_document(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name}


@dataclass(frozen=True)
class ObjectRef:
    digest: str
    size: int

    @classmethod
    def read(cls, fields: Fields) -> Self:
        return cls(fields.read_digest("sha256"), fields.read_integer("size", high=MAX_BYTES))

    def to_document(self) -> dict[str, Any]:
        return {"sha256": self.digest, "size": self.size}


@dataclass(frozen=True)
class Content:
    """One thing that a bundle carries, for whoever signs or approves it. `digest`: what names it on its plane."""

    kind: str
    name: str
    digest: str

    @classmethod
    def read(cls, fields: Fields) -> Self:
        kind = fields.read_choice("kind", *CONTENT_KINDS)
        return cls(kind, fields.read_text("name", max_length=400), fields.read_digest("digest"))

    def to_document(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "digest": self.digest}


@dataclass(frozen=True)
class VolumeRef:
    """A volume: bytes of its file, and the SHA-256 of its own manifest."""

    number: int
    size: int
    manifest: str

    @property
    def name(self) -> str:
        return format_volume_name(self.number)

    def to_document(self) -> dict[str, Any]:
        return {"number": self.number, "size": self.size, "manifest": self.manifest}


def format_volume_name(number: int) -> str:
    return f"volume-{number:04d}.tar"


@dataclass(frozen=True)
class BundleHead:
    """What is known of a bundle before its volumes are written.

    `sequence`: 1, 2, 3... per source and target; a target takes no bundle that is not younger than the last one.
    `inventory`: digest of the target's inventory. `catalogue`: the object with the rows. `sbom`: the CycloneDX object.
    """

    id: str
    source: PlaneRef
    target: PlaneRef
    sequence: int
    created: str
    inventory: str
    contents: tuple[Content, ...]
    catalogue: ObjectRef
    sbom: ObjectRef


@dataclass(frozen=True)
class BundleManifest:
    """What is signed. `text` are the bytes as they were written, `digest` their SHA-256: it names the bundle."""

    head: BundleHead
    objects: int
    volumes: tuple[VolumeRef, ...]
    text: bytes

    @property
    def digest(self) -> str:
        return compute_digest(self.text)

    @property
    def size(self) -> int:
        return sum(volume.size for volume in self.volumes)

    def get_volume(self, number: int) -> VolumeRef:
        """Raises TransferError ``volume_unknown``."""
        if 1 <= number <= len(self.volumes):
            return self.volumes[number - 1]
        raise TransferError(
            "volume_unknown",
            "The bundle has no volume {number}.",
            number=number,
            field="number",
            value=str(number),
            limit=f"1 to {len(self.volumes)}",
            hint="Take the volumes that bundle.json lists.",
        )

    @classmethod
    def build(cls, head: BundleHead, objects: int, volumes: Sequence[VolumeRef]) -> Self:
        """The manifest of written volumes. Raises TransferError ``manifest_too_long``."""
        text = cls.encode(head, objects, volumes)
        check_manifest_size(len(text))
        return cls.parse(text)

    @staticmethod
    def encode(head: BundleHead, objects: int, volumes: Sequence[VolumeRef]) -> bytes:
        document = {
            "schema": SCHEMA,
            "id": head.id,
            "source": head.source.to_document(),
            "target": head.target.to_document(),
            "sequence": head.sequence,
            "created": head.created,
            "inventory": head.inventory,
            "contents": [content.to_document() for content in head.contents],
            "catalogue": head.catalogue.to_document(),
            "sbom": head.sbom.to_document(),
            "objects": objects,
            "volumes": [volume.to_document() for volume in volumes],
        }
        return encode_canonical(document)

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Raises TransferError ``bundle_malformed`` for whatever is not canonical, or not as this version writes it."""
        try:
            document = read_json_object(text, "The bundle", max_bytes=MAX_MANIFEST_BYTES)
            fields = Fields(document, "The bundle")
            fields.read_choice("schema", SCHEMA)
            head = BundleHead(
                id=fields.read_text("id", pattern=PLANE_ID, limit=ID_LIMIT),
                source=PlaneRef.read(fields.read_object("source")),
                target=PlaneRef.read(fields.read_object("target")),
                sequence=fields.read_integer("sequence", low=1),
                created=fields.read_time("created"),
                inventory=fields.read_digest("inventory"),
                contents=tuple(Content.read(each) for each in fields.iter_objects("contents", high=MAX_CONTENTS)),
                catalogue=ObjectRef.read(fields.read_object("catalogue")),
                sbom=ObjectRef.read(fields.read_object("sbom")),
            )
            volumes = tuple(
                read_volume_ref(each, place)
                for place, each in enumerate(fields.iter_objects("volumes", low=1, high=MAX_VOLUMES), 1)
            )
            objects = fields.read_integer("objects", low=1)
        except SigningError as error:
            raise build_malformed_error(error) from None
        if encode_canonical(document) != text:
            raise TransferError(
                "bundle_malformed",
                "The bundle's manifest is not in canonical form.",
                field=MANIFEST_FILE,
                limit="sorted keys, no white space",
                hint="Copy the bundle again, byte for byte.",
            )
        return cls(head, objects, volumes, text)


def check_manifest_size(size: int) -> None:
    """Raise TransferError ``manifest_too_long`` for what no envelope and no target would take."""
    if size <= MAX_MANIFEST_BYTES:
        return
    raise TransferError(
        "manifest_too_long",
        "bundle.json would have {size} bytes.",
        size=size,
        field=MANIFEST_FILE,
        value=str(size),
        limit=f"{MAX_MANIFEST_BYTES} bytes",
        hint="Take larger volumes, or build two bundles.",
    )


def read_volume_ref(fields: Fields, number: int) -> VolumeRef:
    found = fields.read_integer("number", low=number, high=number)
    return VolumeRef(found, fields.read_integer("size", low=1, high=MAX_BYTES), fields.read_digest("manifest"))


@dataclass(frozen=True)
class Part:
    """Bytes of an object in a volume: all of them, or `size` from `offset` on. `sha256`: of these bytes."""

    digest: str
    offset: int
    size: int
    sha256: str
    is_last: bool = True

    @property
    def is_whole(self) -> bool:
        return self.offset == 0 and self.is_last

    @property
    def name(self) -> str:
        return f"objects/{self.digest}" if self.is_whole else f"objects/{self.digest}.{self.offset}"


def encode_volume_manifest(bundle: str, number: int, parts: Sequence[Part]) -> bytes:
    rows = [
        {"object": part.digest, "offset": part.offset, "size": part.size, "sha256": part.sha256, "last": part.is_last}
        for part in parts
    ]
    return encode_canonical({"schema": VOLUME_SCHEMA, "bundle": bundle, "number": number, "parts": rows})


def parse_volume_manifest(text: bytes, bundle: str, number: int) -> list[Part]:
    """The parts of volume `number` of `bundle`. Raises TransferError ``bundle_malformed``."""
    try:
        fields = Fields(read_json_object(text, "The volume", max_bytes=MAX_VOLUME_MANIFEST_BYTES), "The volume")
        fields.read_choice("schema", VOLUME_SCHEMA)
        fields.read_choice("bundle", bundle)
        fields.read_integer("number", low=number, high=number)
        parts = [read_part(each) for each in fields.iter_objects("parts", low=1, high=MAX_PARTS)]
    except SigningError as error:
        raise build_malformed_error(error) from None
    if len({part.name for part in parts}) != len(parts):
        raise TransferError("bundle_malformed", "The volume lists an object twice.", field="/parts", limit="each once")
    return parts


def read_part(fields: Fields) -> Part:
    is_last = fields.values.get("last")
    if not isinstance(is_last, bool):
        raise fields.build_error("last", "it is neither true nor false", is_last, "true or false")
    part = Part(
        fields.read_digest("object"),
        fields.read_integer("offset", high=MAX_BYTES),
        fields.read_integer("size", high=PART_BYTES),
        fields.read_digest("sha256"),
        is_last,
    )
    if part.is_whole and part.sha256 != part.digest:
        raise fields.build_error("sha256", "it is not the object's name", part.sha256, part.digest)
    return part


def encode_inventory(plane: PlaneRef, created: str, digests: Sequence[str]) -> bytes:
    document = {"schema": INVENTORY_SCHEMA, "plane": plane.to_document(), "created": created}
    return encode_canonical({**document, "digests": sorted(digests)})


def build_malformed_error(error: SigningError) -> TransferError:
    return TransferError(
        "bundle_malformed",
        error.message,
        field=error.field,
        value=error.value,
        limit=error.limit,
        hint="Copy the bundle again. If that changes nothing, it was altered: tell whoever signed it.",
    )
