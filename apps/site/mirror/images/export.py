"""An image as a tar that `docker load`, `podman load` and `skopeo copy oci-archive:` read."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator

from apps.platform.artifacts.verification import open_verified
from apps.site.mirror.models import ContainerImage

BLOCK = tarfile.BLOCKSIZE


def export_image(image: ContainerImage) -> Iterator[bytes]:
    """The bytes of the tar: an OCI layout with the manifest.json of docker beside it. Every chunk is verified."""
    manifest = bytes(image.manifest)
    names = [str(tag) for tag in image.tags.order_by("repository", "tag")]
    layers = [layer.artifact for layer in image.layers.select_related("artifact")]
    yield from build_member("oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
    yield from build_member("index.json", encode(build_index(image, len(manifest), names)))
    docker = {
        "Config": f"blobs/sha256/{image.config_id}",
        "RepoTags": names,
        "Layers": [f"blobs/sha256/{layer.digest}" for layer in layers],
    }
    yield from build_member("manifest.json", encode([docker]))
    yield from build_member(f"blobs/sha256/{hashlib.sha256(manifest).hexdigest()}", manifest)
    for artifact in {each.digest: each for each in (image.config, *layers)}.values():
        yield build_header(f"blobs/sha256/{artifact.digest}", artifact.size)
        yield from open_verified(artifact)
        yield bytes(-artifact.size % BLOCK)
    yield bytes(2 * BLOCK)


def build_index(image: ContainerImage, size: int, names: list[str]) -> dict[str, object]:
    descriptor = {
        "mediaType": image.media_type,
        "digest": f"sha256:{image.manifest_digest}",
        "size": size,
        "platform": {"architecture": image.architecture, "os": "linux"},
    }
    annotations = [{"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name} for name in names]
    manifests = [{**descriptor, "annotations": each} for each in annotations] or [descriptor]
    return {"schemaVersion": 2, "manifests": manifests}


def build_member(name: str, text: bytes) -> Iterator[bytes]:
    yield build_header(name, len(text))
    yield text
    yield bytes(-len(text) % BLOCK)


def build_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def encode(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
