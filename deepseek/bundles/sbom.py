"""The CycloneDX 1.5 document of what a bundle carries: packages, images, models and data, each with its digest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from deepseek.bundles.spec import Content
from deepseek.signing.documents import encode_canonical

TYPES = {
    "package": "library",
    "image": "container",
    "model_version": "machine-learning-model",
    "dataset_version": "data",
    "run": "data",
    "advisories": "data",
    "conflicts": "data",
}


def encode_sbom(id: str, created: str, source: str, contents: Iterable[Content]) -> bytes:
    """The document as canonical JSON. `id`: of the bundle, which becomes the serial number."""
    components = {(component := build_component(content))["bom-ref"]: component for content in contents}
    return encode_canonical(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{UUID(id)}",
            "version": 1,
            "metadata": {
                "timestamp": created,
                "component": {"type": "data", "bom-ref": f"bundle:{id}", "name": f"bundle of {source}", "version": id},
            },
            "components": list(components.values()),  # a reference stands once, whatever was named twice
        }
    )


def build_component(content: Content) -> dict[str, Any]:
    name, version = split_version(content)
    component: dict[str, Any] = {
        "type": TYPES[content.kind],
        "bom-ref": f"{content.kind}:{content.digest}:{content.name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": content.digest}],
    }
    if version:
        component["version"] = version
    if content.kind == "package" and version:
        project = re.sub(r"[-_.]+", "-", name).lower()  # as the index spells it (PEP 503)
        component["purl"] = f"pkg:pypi/{escape_purl(project)}@{escape_purl(version)}"
    if content.kind == "image":
        component["purl"] = f"pkg:oci/{escape_purl(name.rpartition('/')[2].lower())}@sha256%3A{content.digest}"
    return component


def split_version(content: Content) -> tuple[str, str]:
    """(name, version) of `torch-2.1-cp311-none-any.whl`, `my-tool-1.0.tar.gz`, `demo/app:v1` or `wti v3`."""
    if content.kind == "package":
        if content.name.endswith(".whl"):
            parts = content.name.split("-")
            return (parts[0], parts[1]) if len(parts) > 2 else (content.name, "")
        stem, _, version = content.name.removesuffix(".tar.gz").removesuffix(".zip").rpartition("-")
        return (stem, version) if stem else (content.name, "")
    name, _, version = content.name.rpartition(":" if content.kind == "image" else " v")
    return (name, version) if name else (content.name, "")


def escape_purl(text: str) -> str:
    """A part of a package URL: everything but letters, digits and `.-_~` in percent-encoding."""
    return re.sub(rb"[^A-Za-z0-9.~_-]", lambda found: b"%%%02X" % found[0][0], text.encode()).decode()
