"""A table of Parquet parts as processes without pyarrow know it: its digest, and a stream of its footers."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable

SUFFIX = ".parquet"
MEDIA_TYPE = "application/vnd.apache.parquet"
MANIFEST_SCHEMA = "plane/dataset-manifest/v1"
LENGTH = struct.Struct("<I")  # before the name and the footer of a part in a stream


def is_part_path(path: str) -> bool:
    """Whether a file of this name in the folder of a table is a part of it."""
    return path.lower().endswith(SUFFIX)


def compute_manifest_sha256(parts: Iterable[tuple[str, str, int]]) -> str:
    """The digest of a dataset version of these Parquet files: (path, SHA-256, size) of each."""
    files = [
        {"media_type": MEDIA_TYPE, "path": path, "sha256": digest, "size": size} for path, digest, size in sorted(parts)
    ]
    document = {"files": files, "schema": MANIFEST_SCHEMA}
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def encode_frame(name: str, footer: bytes) -> bytes:
    """One part, as part_footers.py reads it."""
    encoded = name.encode()
    return LENGTH.pack(len(encoded)) + encoded + LENGTH.pack(len(footer)) + footer
