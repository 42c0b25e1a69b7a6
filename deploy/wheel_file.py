"""Writes a wheel of files that are ready as they are, with no build tool: equal files give equal bytes."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip knows
GENERATOR = "deepseek-offline"


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    tag: str,
    files: Mapping[str, bytes],
    *,
    summary: str,
    requires: Sequence[str] = (),
    requires_python: str = ">=3.11",
    scripts: Mapping[str, str] | None = None,
) -> Path:
    """Write the wheel of `files`, by their paths below site-packages, into `folder`, and return its path.

    `tag`: such as py3-none-any. `requires`: as in a requirements file. `scripts`: command -> module:function.
    https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {summary}",
        f"Requires-Python: {requires_python}",
        *(f"Requires-Dist: {requirement}" for requirement in requires),
    ]
    is_pure = str(tag.endswith("-none-any")).lower()
    wheel = ["Wheel-Version: 1.0", f"Generator: {GENERATOR}", f"Root-Is-Purelib: {is_pure}", f"Tag: {tag}"]
    everything = dict(sorted(files.items()))
    everything[f"{info}/METADATA"] = _encode(metadata)
    everything[f"{info}/WHEEL"] = _encode(wheel)
    if scripts:
        lines = ["[console_scripts]", *(f"{command} = {entry}" for command, entry in sorted(scripts.items()))]
        everything[f"{info}/entry_points.txt"] = _encode(lines)
    record = [f"{path},sha256={_hash(data)},{len(data)}" for path, data in everything.items()]
    everything[f"{info}/RECORD"] = _encode([*record, f"{info}/RECORD,,"])
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, data in everything.items():
            entry = zipfile.ZipInfo(name_, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data)
    return path


def _encode(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _hash(data: bytes) -> str:
    """As RECORD wants it: base64 for addresses, without its padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
