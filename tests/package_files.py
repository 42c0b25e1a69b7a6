"""Wheels and folders of wheels, made in a millisecond: for the package index."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def build_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Sequence[str] = (),
    *,
    requires_python: str = "",
    tag: str = "py3-none-any",
    members: Mapping[str, bytes] | None = None,
    record: Mapping[str, bytes] | None = None,
) -> Path:
    """A wheel with one module; `record`: what RECORD is to be of, where that is not what the wheel holds."""
    module = name.lower().replace("-", "_").replace(".", "_")
    info = f"{module}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", f"Summary: {name} for tests"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {each}" for each in requires]
    files = {
        f"{module}/__init__.py": f'__version__ = "{version}"\n'.encode(),
        f"{info}/METADATA": "\n".join([*lines, "", ""]).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        **(members or {}),
    }
    rows = [
        f"{member},sha256={encode_digest(text)},{len(text)}" for member, text in {**files, **(record or {})}.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in files.items():
            archive.writestr(zipfile.ZipInfo(member, (2026, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return path


def build_sdist(folder: Path, name: str, version: str = "1.0", member: tarfile.TarInfo | None = None) -> Path:
    """A source archive; `member` comes with it."""
    base = f"{name}-{version}"
    path = folder / f"{base}.tar.gz"
    text = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n".encode()
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(f"{base}/PKG-INFO")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
        if member is not None:
            archive.addfile(member)
    return path


def encode_digest(text: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()


def write_sums(folder: Path) -> Path:
    """SHA256SUMS of the wheels of the folder; returns the folder."""
    lines = [f"{hash_file(path)}  {path.name}\n" for path in sorted(folder.glob("*.whl"))]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
