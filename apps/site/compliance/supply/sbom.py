"""Bills of materials as CycloneDX 1.6 JSON (https://cyclonedx.org): of the plane, of each node, of each image.

The plane's components are the distributions that are installed where this runs; a node's are those that its worker
reported; an image's are its layers, since nothing reads what is in them. Vulnerabilities are those of the last feed
of advisories, with its date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from apps.site.compliance.supply.components import PLANE, Component, list_installed_components
from apps.site.compliance.supply.vulnerabilities import Vulnerability, find_vulnerabilities
from apps.site.mirror.models import AdvisoryFeed, ContainerImage
from apps.site.snapshots.environments.queries import list_current_documents

SPEC_VERSION = "1.6"
NAMESPACE = UUID("0a2d5a9e-52a1-5a8f-9f0c-6b8a0b4d9c11")
SEVERITIES = ("critical", "high", "medium", "low", "info", "none")
MAX_IMAGES = 500


def build_plane_sbom(at: datetime) -> dict[str, Any]:
    """Of this installation, with the graph of what requires what."""
    components = [each for each in list_installed_components() if each.name != PLANE]
    plane = next((each for each in list_installed_components() if each.name == PLANE), None)
    subject = {
        "type": "application",
        "name": PLANE,
        "version": plane.version if plane else "0",
        "bom-ref": plane.purl if plane else f"pkg:pypi/{PLANE}",
    }
    refs = {each.name: each.purl for each in components}
    dependencies = [
        {"ref": each.purl, "dependsOn": sorted(refs[name] for name in each.requires if name in refs)}
        for each in components
    ]
    requirements = plane.requires if plane else ()
    dependencies.append(
        {"ref": subject["bom-ref"], "dependsOn": sorted(refs[name] for name in requirements if name in refs)}
    )
    return build_sbom("plane", subject, components, at, dependencies)


def build_node_sboms(at: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, bill) of each node that has reported its environment."""
    for name, document in list_current_documents().items():
        packages = document.get("packages") or {}
        components = [Component(str(key), str(value)) for key, value in sorted(packages.items())]
        system = document.get("system") or {}
        version = str(system.get("distribution") or system.get("kernel") or "")
        subject = {"type": "device", "name": name, "version": version, "bom-ref": f"node:{name}"}
        yield name, build_sbom(f"node {name}", subject, components, at)


def build_image_sboms(at: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """(digest, bill) of each image of the plane: its layers by their digests."""
    images = ContainerImage.objects.prefetch_related("layers", "tags").order_by("pk")[:MAX_IMAGES]
    for image in images:
        names = sorted(f"{tag.repository}:{tag.tag}" for tag in image.tags.all())
        digest = image.manifest_digest
        subject = {
            "type": "container",
            "name": names[0] if names else digest,
            "version": digest,
            "bom-ref": f"image:{digest}",
        }
        bill = build_sbom(f"image {digest}", subject, [], at)
        bill["components"] = [
            {
                "type": "file",
                "name": f"layer {layer.position}",
                "bom-ref": f"layer:{digest}:{layer.position}",
                "hashes": [{"alg": "SHA-256", "content": layer.artifact_id}],
            }
            for layer in image.layers.all()
        ]
        yield digest, bill


def build_sbom(
    name: str,
    subject: dict[str, Any],
    components: Sequence[Component],
    at: datetime,
    dependencies: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """One bill. Its serial number is derived from its content, so the same environment has the same one."""
    content = "\n".join([name, *(f"{each.name} {each.version}" for each in components)])
    feed = AdvisoryFeed.objects.first()
    properties = [{"name": "deepseek-offline:advisories", "value": describe_feed(feed)}]
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {"timestamp": at.isoformat(), "component": subject, "properties": properties},
        "components": [build_component(each) for each in components],
    }
    if dependencies:
        document["dependencies"] = list(dependencies)
    if feed is not None:
        document["vulnerabilities"] = list(build_vulnerabilities(find_vulnerabilities(components)))
    return document


def build_component(each: Component) -> dict[str, Any]:
    row: dict[str, Any] = {
        "type": "library",
        "name": each.name,
        "version": each.version,
        "purl": each.purl,
        "bom-ref": each.purl,
    }
    if each.license:
        row["licenses"] = [{"license": {"name": each.license}}]
    if each.record_sha256:
        row["properties"] = [{"name": "deepseek-offline:record-sha256", "value": each.record_sha256}]
    return row


def build_vulnerabilities(rows: Iterable[Vulnerability]) -> Iterator[dict[str, Any]]:
    for row in rows:
        severity = row.severity if row.severity in SEVERITIES else "unknown"
        if row.severity == "moderate":
            severity = "medium"
        yield {
            "bom-ref": f"{row.advisory_id}:{row.component}",
            "id": row.advisory_id,
            "source": {"name": "OSV"},
            "ratings": [{"severity": severity}],
            "description": row.summary,
            "affects": [{"ref": f"pkg:pypi/{row.component}@{row.version}"}],
        }


def describe_feed(feed: AdvisoryFeed | None) -> str:
    """The feed that was used and its date, in one line."""
    if feed is None:
        return "none was imported"
    dated = f"{feed.dated_at:%Y-%m-%d}" if feed.dated_at else "without a date"
    return f"{feed.name}, {dated}, {feed.advisories} advisories, sha256 {feed.digest}"
