"""An image in a file: what `docker save` writes, old and new, or a tar of an OCI layout.

The tar is only walked, never unpacked; everything in it is outside input. `read_archive` checks what is small: names,
kinds and sizes of all members, the manifest and the config by their digests. Layers are checked while they are read.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from apps.site.mirror.images.errors import (
    build_image_error,
    build_size_error,
    build_tampering_error,
    build_unsafe_error,
)
from deepseek.messages import Message

MAX_MEMBERS = 20_000
MAX_HEADER_BYTES = 1 << 20  # of a long name or of extended headers
MAX_JSON_BYTES = 4 << 20
MAX_LAYERS = 1000
MAX_RATIO = 100
SMALL_BYTES = 64 << 20  # unpacked; below it no ratio is looked at
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"
LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPES = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class BoundedTarInfo(tarfile.TarInfo):
    """A header whose long name or extended headers stay small: they are read into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        has_text = self.type in LONG_HEADERS
        if has_text and self.size > MAX_HEADER_BYTES:
            raise tarfile.HeaderError("a header is too long")
        return super()._proc_member(archive)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class LayerPart:
    """Where a layer lies in the file. `digest`: of its bytes there, where the image says it; `diff_id`: unpacked."""

    name: str
    offset: int
    size: int
    digest: str
    diff_id: str


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """The one image of a file; `manifest` is empty where the file has none, as of older `docker save`."""

    manifest: bytes
    media_type: str
    config: bytes
    architecture: str
    layers: tuple[LayerPart, ...]
    names: tuple[str, ...]  # repository:tag


class ArchiveReader:
    """Members of a tar by name, all checked."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.members: dict[str, tarfile.TarInfo] = {}
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedTarInfo) as archive:
                for member in archive:
                    self.add(member)
        except (tarfile.TarError, ValueError, EOFError, RecursionError) as failure:
            raise build_image_error(name, Message("it is no tar file ({fault})", fault=str(failure)[:100])) from None

    def add(self, member: tarfile.TarInfo) -> None:
        path = PurePosixPath(member.name)
        is_plain = member.isreg() and not member.issparse()
        is_link = member.issym() or member.islnk()
        if path.is_absolute() or ".." in path.parts or not (is_plain or member.isdir() or is_link):
            raise build_unsafe_error(self.name, member.name)
        name = str(path)
        if name in self.members and not member.isdir():
            raise build_unsafe_error(self.name, member.name)
        if len(self.members) >= MAX_MEMBERS:
            raise build_size_error(self.name, f"{len(self.members) + 1:,}+", f"{MAX_MEMBERS:,}")
        self.members[name] = member

    def find(self, name: str) -> tarfile.TarInfo:
        """The regular file of this name, at the end of its links. Raises Invalid."""
        for _ in range(3):
            member = self.members.get(name)
            if member is None:
                break
            if member.isreg():
                return member
            base = PurePosixPath(name).parent if member.issym() else PurePosixPath()
            parts: list[str] = []
            for part in (base / member.linkname).parts:
                if part == ".." and not parts:
                    raise build_unsafe_error(self.name, name)
                parts = parts[:-1] if part == ".." else [*parts, part]
            name = "/".join(parts)
        raise build_image_error(self.name, Message("it has no {member}", member=name[:100]))

    def read(self, name: str) -> bytes:
        member = self.find(name)
        if member.size > MAX_JSON_BYTES:
            raise build_size_error(self.name, f"{member.size:,}", f"{MAX_JSON_BYTES:,}")
        self.file.seek(member.offset_data)
        return self.file.read(member.size)

    def read_blob(self, digest: object) -> bytes:
        text = self.read(f"blobs/sha256/{self.parse_digest(digest)}")
        if hashlib.sha256(text).hexdigest() != self.parse_digest(digest):
            raise build_tampering_error(self.name, str(digest))
        return text

    def parse_digest(self, digest: object) -> str:
        match = DIGEST.fullmatch(str(digest))
        if match is None:
            raise build_image_error(self.name, Message("{digest} is no digest", digest=str(digest)[:80]))
        return match[1]


def read_archive(file: BinaryIO, name: str, architecture: str) -> ArchivedImage:
    """The image of this architecture in an uncompressed archive. Raises Invalid (`image_invalid`, `image_tampered`,
    `unsafe_archive`, `archive_bomb`)."""
    reader = ArchiveReader(file, name)
    try:
        if "index.json" in reader.members:
            return read_oci(reader, architecture)
        return read_docker(reader, architecture)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as failure:
        fault = f"{type(failure).__name__}: {failure}"[:100]
        raise build_image_error(name, Message("it cannot be understood ({fault})", fault=fault)) from None


def read_docker(reader: ArchiveReader, architecture: str) -> ArchivedImage:
    rows = json.loads(reader.read("manifest.json"))
    if not isinstance(rows, list) or len(rows) != 1:
        raise build_image_error(reader.name, Message("it does not hold exactly one image"))
    row, config_name = rows[0], str(rows[0]["Config"])
    config = reader.read(config_name)
    claimed = PurePosixPath(config_name).name.removesuffix(".json")
    if hashlib.sha256(config).hexdigest() != claimed:
        raise build_tampering_error(reader.name, config_name)
    diff_ids = check_config(reader, config, architecture)
    paths = [str(path) for path in row["Layers"]]
    layers = build_layers(reader, paths, [""] * len(paths), diff_ids)
    return ArchivedImage(b"", OCI_MANIFEST, config, architecture, layers, tuple(row.get("RepoTags") or ()))


def read_oci(reader: ArchiveReader, architecture: str) -> ArchivedImage:
    descriptors = list(iter_descriptors(reader, json.loads(reader.read("index.json"))))
    platforms = [each for each in descriptors if (each.get("platform") or {}).get("architecture") == architecture]
    chosen = platforms or descriptors
    if len({each["digest"] for each in chosen}) != 1:
        raise build_image_error(reader.name, Message("it does not hold exactly one image"))
    manifest = reader.read_blob(chosen[0]["digest"])
    document = json.loads(manifest)
    media_type = document.get("mediaType") or OCI_MANIFEST
    if media_type not in MANIFEST_TYPES:
        raise build_image_error(reader.name, Message("its manifest is of no known type"))
    config = reader.read_blob(document["config"]["digest"])
    diff_ids = check_config(reader, config, architecture)
    digests = [reader.parse_digest(layer["digest"]) for layer in document["layers"]]
    layers = build_layers(reader, [f"blobs/sha256/{digest}" for digest in digests], digests, diff_ids)
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    names = [str(each["annotations"][key]) for each in chosen for key in keys if key in (each.get("annotations") or {})]
    return ArchivedImage(
        manifest, media_type, config, architecture, layers, tuple(text for text in names if ":" in text)
    )


def iter_descriptors(reader: ArchiveReader, index: dict[str, Any], depth: int = 1) -> Iterator[dict[str, Any]]:
    for descriptor in index["manifests"]:
        if descriptor.get("mediaType") in INDEX_TYPES and depth < 3:
            yield from iter_descriptors(reader, json.loads(reader.read_blob(descriptor["digest"])), depth + 1)
        else:
            yield descriptor


def check_config(reader: ArchiveReader, config: bytes, architecture: str) -> list[str]:
    """The digests of the unpacked layers. Raises Invalid for an image of other machines."""
    document = json.loads(config)
    if document["architecture"] != architecture:
        why = Message(
            "it is of {found}, not of {wanted}", found=str(document["architecture"])[:40], wanted=architecture
        )
        raise build_image_error(reader.name, why)
    return [reader.parse_digest(each) for each in document["rootfs"]["diff_ids"]]


def build_layers(
    reader: ArchiveReader, paths: list[str], digests: list[str], diff_ids: list[str]
) -> tuple[LayerPart, ...]:
    if not 0 < len(paths) <= MAX_LAYERS or len(paths) != len(diff_ids):
        raise build_image_error(reader.name, Message("its layers are not those of its config"))
    parts = []
    for path, digest, diff_id in zip(paths, digests, diff_ids, strict=True):
        member = reader.find(path)
        parts.append(LayerPart(path, member.offset_data, member.size, digest, diff_id))
    return tuple(parts)


# -- layers ---------------------------------------------------------------------------------------------------------
class LayerStream:
    """The bytes of a layer, once. At the end its unpacked digest was compared: a layer that is no gzip is its own."""

    def __init__(self, file: BinaryIO, part: LayerPart, name: str) -> None:
        self.file, self.part, self.name = file, part, name
        file.seek(part.offset)
        self.is_packed = file.read(2) == GZIP
        self.expected = part.digest or ("" if self.is_packed else part.diff_id)

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(self.part.offset)
        left, unpacking = self.part.size, UnpackedHash(self.part, self.name) if self.is_packed else None
        while left:
            chunk = self.file.read(min(CHUNK, left))
            if not chunk:
                raise build_tampering_error(self.name, self.part.name)
            left -= len(chunk)
            if unpacking is not None:
                unpacking.update(chunk)
            yield chunk
        if unpacking is not None:
            unpacking.finish()
        elif self.part.digest and self.part.digest != self.part.diff_id:
            raise build_tampering_error(self.name, self.part.name)


class UnpackedHash:
    """SHA-256 of what a gzip unpacks to, bounded."""

    def __init__(self, part: LayerPart, name: str) -> None:
        self.part, self.name = part, name
        self.hash, self.size = hashlib.sha256(), 0
        self.limit = max(SMALL_BYTES, MAX_RATIO * part.size)
        self.inflater = zlib.decompressobj(wbits=31)

    def update(self, chunk: bytes) -> None:
        try:
            while chunk:
                text = self.inflater.decompress(chunk, CHUNK)
                self.size += len(text)
                if self.size > self.limit:
                    raise build_size_error(self.name, f"{self.size:,}+", f"{self.limit:,}")
                self.hash.update(text)
                chunk = self.inflater.unconsumed_tail
                if self.inflater.eof:
                    chunk = self.inflater.unused_data.lstrip(b"\0")
                    self.inflater = zlib.decompressobj(wbits=31) if chunk else self.inflater
                    if not chunk:
                        return
        except zlib.error:
            raise build_tampering_error(self.name, self.part.name) from None

    def finish(self) -> None:
        if not self.inflater.eof or self.hash.hexdigest() != self.part.diff_id:
            raise build_tampering_error(self.name, self.part.name)


def unpack_gzip(source: BinaryIO, target: BinaryIO, name: str, size: int) -> None:
    """A whole archive that was packed by gzip, into a file; bounded as a layer is."""
    limit, total = max(SMALL_BYTES, MAX_RATIO * size), 0
    inflater = zlib.decompressobj(wbits=31)
    try:
        while chunk := source.read(CHUNK):
            while chunk:
                text = inflater.decompress(chunk, CHUNK)
                total += len(text)
                if total > limit:
                    raise build_size_error(name, f"{total:,}+", f"{limit:,}")
                target.write(text)
                chunk = inflater.unconsumed_tail
    except zlib.error as failure:
        raise build_image_error(name, Message("it cannot be unpacked ({fault})", fault=str(failure))) from None
    if not inflater.eof:
        raise build_image_error(name, Message("it is cut off"))


def build_manifest(config: bytes, layers: list[tuple[str, int, bool]]) -> bytes:
    """A manifest for an image that came without one; the same image always gets the same bytes.

    `layers`: (digest, size, whether it is packed by gzip).
    """
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": OCI_CONFIG,
            "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
            "size": len(config),
        },
        "layers": [
            {"mediaType": f"{OCI_LAYER}+gzip" if packed else OCI_LAYER, "digest": f"sha256:{digest}", "size": size}
            for digest, size, packed in layers
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()
