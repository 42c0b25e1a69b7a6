"""Read an OCI image layout, a folder or a tar file of one, or the archive of an older `docker save`.

What it names is outside input: blobs are found by their digest alone, and every one is checked against it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from apps.core.errors import PlaneError
from deepseek.messages import N_, Message
from workers.images.headers import LimitedTar, UnsafeEntry, build_header_error

MAX_JSON_BYTES = 4 << 20  # of an index, a manifest or a config
MAX_LAYERS = 1000
MAX_DEPTH = 3  # of an index in an index
MAX_VARIABLES = 1000
MAX_VARIABLE_BYTES = 64 << 10  # of all, as JSON: they go through one variable, of which Linux takes 128 KiB
MAX_MEMBERS = 20_000  # of the tar file that holds the layout
MAX_NAME = 8 << 10  # characters of a member's name and link
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
LAYER_ENDINGS = ("tar", "tar+gzip", "tar.gzip", "tar+zstd", "tar.zstd")
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "loongarch64": "loong64",
}
"""What `uname -m` says, in the words of OCI; others are the same in both."""


@dataclass(frozen=True)
class Layer:
    """`path`: in the layout. `digest`: SHA-256 of its bytes there, in hex. `size`: how many, if the image says that."""

    path: str
    digest: str
    size: int | None = None


@dataclass(frozen=True)
class Image:
    """One image for this node. `digest`: of its manifest; of an archive without one, of its config."""

    path: Path
    digest: str
    platform: str
    layers: tuple[Layer, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        return self.digest.replace(":", "-")


class FolderLayout:
    """A layout as a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def close(self) -> None:
        pass


class TarLayout:
    """A layout as an uncompressed tar file, of which nothing is unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._tar = LimitedTar.open(path, "r:")  # closed by `close`
        except UnsafeEntry as refused:
            raise build_image_error(path, refused.reason, detail=refused.name[:120]) from None
        except (tarfile.TarError, ValueError, RecursionError):
            raise build_image_error(path, N_("it is neither a folder nor an uncompressed tar file")) from None
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            for number, member in enumerate(self._tar, 1):
                self._add(member, number)
        except UnsafeEntry as refused:
            self._tar.close()
            raise build_image_error(path, refused.reason, detail=refused.name[:120]) from None
        except (tarfile.TarError, ValueError, RecursionError):
            self._tar.close()
            raise build_image_error(path, N_("the tar file is cut off or damaged")) from None

    def _add(self, member: tarfile.TarInfo, number: int) -> None:
        """All members stay in memory: links lead from one to the other."""
        if number > MAX_MEMBERS:
            raise UnsafeEntry(N_("it has too many entries"), str(MAX_MEMBERS))
        if len(member.name) + len(member.linkname) > MAX_NAME:
            raise build_header_error(member)
        member.pax_headers = {}
        self._members[member.name.removeprefix("./")] = member

    def has(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> BinaryIO:
        try:
            file = self._tar.extractfile(self._members[name])
        except (KeyError, RecursionError):  # a link that leads to nothing, or to itself
            file = None
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "it is not in the archive", name)
        return file  # type: ignore[return-value]

    def close(self) -> None:
        self._tar.close()


Layout = FolderLayout | TarLayout


@contextmanager
def open_layout(path: Path) -> Iterator[Layout]:
    """The layout at `path`; raises PlaneError ``bad_image`` where there is none."""
    try:
        layout = FolderLayout(path) if path.is_dir() else TarLayout(path)
    except OSError as failure:
        raise build_image_error(path, failure.strerror or str(failure)) from failure
    try:
        yield layout
    finally:
        layout.close()


def read_image(layout: Layout) -> Image:
    """The one image of the layout that runs on this node.

    Raises PlaneError: ``bad_image`` for what is no layout or holds several images, ``image_damaged`` for a blob that is
    not what its digest says, ``image_platform`` for an image of other machines.
    """
    try:
        if layout.has("index.json"):
            return read_oci_image(layout)
        if layout.has("manifest.json"):
            return read_docker_archive(layout)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError, OSError, tarfile.TarError) as failure:
        reason = f"{type(failure).__name__}: {failure}"[:120]
        raise build_image_error(layout.path, N_("it cannot be understood"), detail=reason) from failure
    raise build_image_error(layout.path, N_("it has neither index.json nor manifest.json"))


def read_oci_image(layout: Layout) -> Image:
    node_platform = get_node_platform()
    descriptors = list(iter_manifests(layout, json.loads(read_limited(layout, "index.json"))))
    named = [each for each in descriptors if "platform" in each]
    if len(descriptors) > 1 and named:
        # A signature or a build record beside the images has the platform unknown/unknown.
        descriptors = [each for each in named if name_platform(each["platform"]) == node_platform]
        if not descriptors:
            others = sorted({name_platform(each["platform"]) for each in named} - {"unknown/unknown"})
            raise build_platform_error(layout.path, ", ".join(others), node_platform)
    digests = sorted({each["digest"] for each in descriptors})
    if len(digests) != 1:
        raise build_image_error(
            layout.path, N_("it does not hold exactly one image"), detail=", ".join(digests)[:300] or "0"
        )
    manifest = json.loads(read_blob(layout, digests[0]))
    if manifest.get("mediaType", MANIFEST_TYPES[0]) not in MANIFEST_TYPES:
        raise build_image_error(layout.path, N_("its manifest is of no known type"), detail=manifest["mediaType"][:80])
    config = json.loads(read_blob(layout, manifest["config"]["digest"]))
    layers = []
    for layer in manifest["layers"]:
        media_type = str(layer["mediaType"])
        if not media_type.endswith(LAYER_ENDINGS):
            raise build_image_error(
                layout.path, N_("a layer is packed in a way that is not read here"), detail=media_type[:80]
            )
        layers.append(Layer(locate_blob(layer["digest"]), parse_digest(layer["digest"]), layer.get("size")))
    return build_image(layout, digests[0], config, layers)


def iter_manifests(layout: Layout, index: dict[str, Any], depth: int = 1) -> Iterator[dict[str, Any]]:
    """The descriptors of all manifests below an index, those of indexes in it too."""
    for descriptor in index["manifests"]:
        parse_digest(descriptor["digest"])
        if descriptor.get("mediaType") in INDEX_TYPES:
            if depth == MAX_DEPTH:
                raise ValueError("an index lies too deep")
            yield from iter_manifests(layout, json.loads(read_blob(layout, descriptor["digest"])), depth + 1)
        else:
            yield descriptor


def read_docker_archive(layout: Layout) -> Image:
    """What `docker save` wrote before its version 25: layers are known by the digests of the config."""
    rows = json.loads(read_limited(layout, "manifest.json"))
    if len(rows) != 1:
        raise build_image_error(layout.path, N_("it does not hold exactly one image"), detail=str(len(rows)))
    data = read_limited(layout, rows[0]["Config"])
    config = json.loads(data)
    digests = [parse_digest(digest) for digest in config["rootfs"]["diff_ids"]]
    layers = [Layer(str(path), digest) for path, digest in zip(rows[0]["Layers"], digests, strict=True)]
    if not isinstance(layout, TarLayout):  # paths of a folder would be followed
        raise build_image_error(layout.path, N_("a folder has to be an OCI image layout, with index.json"))
    return build_image(layout, f"sha256:{hashlib.sha256(data).hexdigest()}", config, layers)


def build_image(layout: Layout, digest: str, config: dict[str, Any], layers: list[Layer]) -> Image:
    found, wanted = name_platform(config), get_node_platform()
    if found != wanted:
        raise build_platform_error(layout.path, found, wanted)
    if not 0 < len(layers) <= MAX_LAYERS:
        raise build_image_error(layout.path, N_("it has no layers, or too many"), detail=str(len(layers)))
    missing = next((layer.digest for layer in layers if not layout.has(layer.path)), None)
    if missing:
        raise build_image_error(layout.path, N_("a layer is missing"), detail=f"sha256:{missing}")
    pairs = [str(line).partition("=") for line in (config.get("config") or {}).get("Env") or ()]
    environment = {name: value for name, _, value in pairs[:MAX_VARIABLES] if name and "\0" not in name + value}
    size = len(json.dumps(environment))
    if size > MAX_VARIABLE_BYTES:
        raise build_image_error(layout.path, N_("its variables are too long"), detail=f"{size} > {MAX_VARIABLE_BYTES}")
    return Image(layout.path, digest, found, tuple(layers), environment)


# -- bytes ----------------------------------------------------------------------------------------------------------
def read_blob(layout: Layout, digest: str) -> bytes:
    """A small blob, checked; raises PlaneError ``image_damaged``."""
    data = read_limited(layout, locate_blob(digest))
    if hashlib.sha256(data).hexdigest() != parse_digest(digest):
        raise build_damage_error(layout.path, digest)
    return data


def read_limited(layout: Layout, name: str) -> bytes:
    with layout.open(name) as file:
        data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"{name[:80]} is larger than {MAX_JSON_BYTES} bytes")
    return data


def locate_blob(digest: str) -> str:
    return f"blobs/sha256/{parse_digest(digest)}"


def parse_digest(digest: Any) -> str:
    """The hex digits of ``sha256:...``; raises ValueError for anything else, so that it is safe in a path."""
    match = DIGEST.fullmatch(str(digest))
    if not match:
        raise ValueError(f"{str(digest)[:80]!r} is no SHA-256 digest")
    return match[1]


# -- platforms ------------------------------------------------------------------------------------------------------
def get_node_platform() -> str:
    machine = platform.machine()
    return f"linux/{ARCHITECTURES.get(machine, machine)}"


def name_platform(described: dict[str, Any]) -> str:
    return f"{described.get('os', '')}/{described.get('architecture', '')}"[:80]


# -- errors ---------------------------------------------------------------------------------------------------------
def build_image_error(path: Path, reason: str, *, detail: str = "") -> PlaneError:
    return PlaneError(
        "The image {path} cannot be used: {reason}{detail}.",
        path=str(path),
        reason=Message(reason),
        detail=f" ({detail})" if detail else "",
        code="bad_image",
        field="/spec/environment",
        hint=N_("Write it again with skopeo copy docker-archive:... oci:FOLDER, and restart the worker."),
    )


def build_damage_error(path: Path, digest: str) -> PlaneError:
    return PlaneError(
        "The blob {digest} of the image {path} is damaged.",
        digest=digest,
        path=str(path),
        code="image_damaged",
        field="/spec/environment",
        hint=N_("Copy the image to the node again, and restart its worker."),
    )


def build_platform_error(path: Path, found: str, wanted: str) -> PlaneError:
    return PlaneError(
        "The image {path} is for {platform}.",
        path=str(path),
        platform=found or "?",
        code="image_platform",
        field="/spec/environment",
        limit=wanted,
        hint=N_("Make it for the platform of the node, which the limit names."),
    )
