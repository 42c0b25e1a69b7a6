"""Container images as files, made without a container engine: docker-archive, and tars of OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path


def build_layer(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return out.getvalue()


def build_config(layers: Sequence[bytes], architecture: str = "amd64") -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}" for layer in layers]}
    return json.dumps({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs}).encode()


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def write_tar(path: Path, members: dict[str, bytes], extra: Sequence[tarfile.TarInfo] = ()) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        for info in extra:
            archive.addfile(info)
    return path


def build_docker_archive(
    path: Path,
    *,
    names: Sequence[str] = ("demo/app:v1",),
    architecture: str = "amd64",
    files: dict[str, bytes] | None = None,
    extra: Sequence[tarfile.TarInfo] = (),
    spoil: Callable[[dict[str, bytes]], None] = lambda members: None,
) -> Path:
    """As docker save wrote it before version 25; `spoil` changes the members before they are written."""
    layers = [build_layer({"etc/base": b"base\n"}), build_layer(files or {"app/run.sh": b"#!/bin/sh\n"})]
    config = build_config(layers, architecture)
    entry = {"Config": f"{digest(config)}.json", "RepoTags": list(names), "Layers": ["a/layer.tar", "b/layer.tar"]}
    members = {f"{digest(config)}.json": config, "a/layer.tar": layers[0], "b/layer.tar": layers[1]}
    members["manifest.json"] = json.dumps([entry]).encode()
    spoil(members)
    return write_tar(path, members, extra)


def build_oci_archive(
    path: Path,
    *,
    name: str = "demo/app:v2",
    architecture: str = "amd64",
    layer: bytes | None = None,
    spoil: Callable[[dict[str, bytes]], None] = lambda members: None,
) -> Path:
    """An OCI layout whose one layer is packed by gzip."""
    plain = layer if layer is not None else build_layer({"app/run.sh": b"#!/bin/sh\n"})
    packed = gzip.compress(plain, mtime=0)
    config = build_config([plain], architecture)
    oci = "application/vnd.oci.image"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{oci}.manifest.v1+json",
            "config": describe(f"{oci}.config.v1+json", config),
            "layers": [describe(f"{oci}.layer.v1.tar+gzip", packed)],
        }
    ).encode()
    annotations = {"org.opencontainers.image.ref.name": name}
    entry = {**describe(f"{oci}.manifest.v1+json", manifest), "annotations": annotations}
    index = {"schemaVersion": 2, "manifests": [entry]}
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    members |= {f"blobs/sha256/{digest(text)}": text for text in (manifest, config, packed)}
    spoil(members)
    return write_tar(path, members)


def describe(media_type: str, text: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest(text)}", "size": len(text)}
