"""Images that a test makes: layers written by tarfile, in an OCI layout as a folder."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.images.layout import MANIFEST_TYPES, get_node_platform

LAYER = "application/vnd.oci.image.layer.v1.tar"
LINKS = {"->": tarfile.SYMTYPE, "=": tarfile.LNKTYPE}
STDLIB = (
    "*.py",
    "collections/*.py",
    "encodings/*.py",
    "importlib/*.py",
    "json/*.py",
    "re/*.py",
    "urllib/*.py",
    "lib-dynload/*.so",
)


def build_layer(entries: Sequence[tuple[Any, ...]]) -> bytes:
    """A tar file of (name, bytes), (name, None) for a folder, (name, "->", link), (name, "=", hard link) and
    (name, "type", type of tarfile).
    """
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, *what in entries:
            header = tarfile.TarInfo(name)
            header.mode, header.mtime = 0o6755, 1_700_000_000
            content = what[0] if isinstance(what[0], bytes) else b""
            if what[0] is None:
                header.type = tarfile.DIRTYPE
            elif what[0] == "type":
                header.type = what[1]
            elif what[0] in LINKS:
                header.type, header.linkname = LINKS[what[0]], what[1]
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return data.getvalue()


class LayoutWriter:
    """An OCI layout as a folder; `add_image` writes an image, `finish` the index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        (folder / "blobs/sha256").mkdir(parents=True)

    def add_blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return f"sha256:{digest}"

    def add_image(
        self,
        layers: Sequence[bytes],
        *,
        platform: str = "",
        kind: str = "",
        variables: Sequence[str] = (),
        sizes: Sequence[int] = (),
        **row: Any,
    ) -> str:
        system, _, architecture = (platform or get_node_platform()).partition("/")
        config = {"os": system, "architecture": architecture, "config": {"Env": list(variables)}}
        media_type = LAYER + kind
        manifest = {
            "mediaType": MANIFEST_TYPES[0],
            "config": {"digest": self.add_blob(json.dumps(config).encode())},
            "layers": [
                {"digest": self.add_blob(data), "mediaType": media_type, "size": size}
                for data, size in zip(layers, sizes or map(len, layers), strict=True)
            ],
        }
        digest = self.add_blob(json.dumps(manifest).encode())
        described = {"platform": {"os": system, "architecture": architecture}} if platform else {}
        self.rows.append({"mediaType": MANIFEST_TYPES[0], "digest": digest, **described, **row})
        return digest

    def finish(self) -> Path:
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.rows}))
        return self.folder


def build_python_image(folder: Path) -> Path:
    """An image of a dozen MB: this machine's Python, its libraries and a part of its standard library, nothing else."""
    program = Path(sys.executable).resolve()
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    files = {f"opt/python/bin/{program.name}": program}
    files |= {path.lstrip("/"): Path(path) for path in re.findall(r"(/\S+) \(0x", linked)}
    for pattern in STDLIB:
        for path in Path(sysconfig.get_path("stdlib")).glob(pattern):
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            files[f"opt/python/lib/{version}/{path.relative_to(sysconfig.get_path('stdlib'))}"] = path
    base = [(name, path.read_bytes()) for name, path in sorted(files.items())]
    top = [("opt/python/bin/python", "->", program.name), ("proc", None), ("secret", b"gone")]
    writer = LayoutWriter(folder)
    variables = ["PATH=/opt/python/bin:/bin", "PYTHONHOME=/opt/python", "OF_IMAGE=yes", "OUT=/nowhere"]
    writer.add_image([build_layer(base), build_layer(top), build_layer([(".wh.secret", b"")])], variables=variables)
    return writer.finish()
