"""Images, packages, advisories and conflict rules of a bundle: what belongs to the plane as a whole.

A system administrator has accepted them; files of packages are read as any upload is, and no tag is moved.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.core.actors import Actor
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import adopt_for_plane, store_for_plane
from apps.platform.artifacts.store import StoredBytes
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record
from apps.platform.nodes.models import ConflictRules
from apps.site.mirror.distributions import Distribution, read_distribution
from apps.site.mirror.images.references import parse_reference
from apps.site.mirror.models import ContainerImage, ImageLayer, ImageTag, Package
from apps.site.mirror.services import import_advisories
from apps.site.mirror.services.images import set_tag
from apps.site.mirror.services.index_rows import (
    add_file,
    check_name,
    find_published,
    lock_index,
    mark_changed,
    refresh_package,
)
from apps.site.transfer.export import fields
from apps.site.transfer.export.rows import build_catalogue_error, load_row
from apps.site.transfer.faults import convert_fault
from apps.site.transfer.loading.catalogue import IncomingCatalogue, build_missing_error
from deepseek.doctor.conflict_rules import ConflictRulesError, parse_document

MAX_MANIFEST_BYTES = 4 << 20  # of an image


@dataclass(frozen=True, slots=True)
class PackageUpload:
    """A file of a package that was read before the transaction, which must be short; `metadata` is in the store."""

    filename: str
    digest: str
    distribution: Distribution
    metadata: StoredBytes | None


def read_packages(actor: Actor, catalogue: IncomingCatalogue) -> list[PackageUpload]:
    """Read every file of a package as an upload would be read. Raises Invalid."""
    uploads = []
    for row in catalogue.rows["packages"]:
        filename, digest = str(row.get("filename")), str(row.get("artifact"))
        if find_published(filename, digest):
            continue
        with open_package(catalogue, digest) as path:
            distribution = read_distribution(path, filename)
        stream = [distribution.metadata] if distribution.metadata else []
        stored = store_for_plane(actor=actor, stream=stream) if stream else None
        uploads.append(PackageUpload(filename, digest, distribution, stored))
    return uploads


@contextmanager
def open_package(catalogue: IncomingCatalogue, digest: Any) -> Iterator[Path]:
    """A file of a package to read: as it was carried; or, where the target has its bytes and only does not publish
    them, a copy out of the store. Raises NotFound where they are neither carried nor here."""
    size = catalogue.get_size(digest)
    if catalogue.is_carried(digest):
        yield catalogue.get_path(digest)
        return
    with tempfile.NamedTemporaryFile(dir=catalogue.folder.parent, prefix=".package-") as copy:
        try:
            with closing(get_store().open(digest)) as reading:
                for chunk in reading:
                    copy.write(chunk)
        except FileNotFoundError:
            raise build_missing_error(digest) from None
        copy.flush()
        if os.fstat(copy.fileno()).st_size != size:
            raise build_missing_error(digest)
        yield Path(copy.name)


class MirrorLoader:
    def __init__(
        self,
        actor: Actor,
        catalogue: IncomingCatalogue,
        stored: dict[str, StoredBytes],
        uploads: Sequence[PackageUpload],
    ) -> None:
        self.actor, self.catalogue, self.stored, self.uploads = actor, catalogue, stored, uploads
        self.report: list[dict[str, str]] = []

    def load(self) -> list[dict[str, str]]:
        rows = self.catalogue.rows
        for row in rows["images"]:
            self.load_image(row)
        if self.uploads:
            self.load_packages()
        for row in rows["advisories"]:
            path = self.catalogue.get_path(row.get("feed"))
            feed = import_advisories(actor=self.actor, path=path)
            self.note("advisories", str(feed))
        for row in rows["conflicts"]:
            self.load_conflicts(row)
        return self.report

    def note(self, kind: str, name: str) -> None:
        self.report.append({"kind": kind, "name": name})

    def adopt(self, digest: Any) -> Artifact:
        size = self.catalogue.get_size(digest)
        return adopt_for_plane(actor=self.actor, stored=self.stored.get(digest, StoredBytes(digest, size)))

    def load_image(self, row: dict[str, Any]) -> None:
        repository, tag = parse_reference(f"{row.get('repository')}:{row.get('tag')}")
        values = load_row(ContainerImage, row, fields.IMAGE)
        image = ContainerImage.objects.filter(manifest_digest=values.manifest_digest).first()
        if image is None:
            image = self.insert_image(values, row)
        if not ImageTag.objects.filter(repository=repository, tag=tag, image=image).exists():
            set_tag(self.actor, image, repository, tag, move=False)
            self.note("image", f"{repository}:{tag}")

    def insert_image(self, image: ContainerImage, row: dict[str, Any]) -> ContainerImage:
        path = self.catalogue.get_path(row.get("manifest"))
        manifest = path.read_bytes() if path.stat().st_size <= MAX_MANIFEST_BYTES else b""
        if hashlib.sha256(manifest).hexdigest() != image.manifest_digest:
            raise build_catalogue_error("images", "its manifest is not the one of its digest")
        layers = row.get("layers")
        image_digests = list_image_digests(manifest)
        if not isinstance(layers, list) or [row.get("config"), *layers] != image_digests:
            raise build_catalogue_error("images", "its layers are not those of its manifest")
        image.manifest, image.config = manifest, self.adopt(row.get("config"))
        image.imported_by = self.actor.label[:200]
        image.save(force_insert=True)
        for position, digest in enumerate(layers):
            ImageLayer.objects.create(image=image, position=position, artifact=self.adopt(digest))
        after, digests = {"source": image.source_name, "size": image.size}, {"manifest": image.manifest_digest}
        record(actor=self.actor, action="image.import", obj=image, after=after, digests=digests)
        return image

    def load_packages(self) -> None:
        """Files of packages for the plane, as an import of a folder of them."""
        index, now = lock_index(), timezone.now()
        packages: dict[int, Package] = {}
        for upload in self.uploads:
            if find_published(upload.filename, upload.digest):
                continue
            check_name(upload.distribution.name, None)
            metadata = adopt_for_plane(actor=self.actor, stored=upload.metadata) if upload.metadata else None
            artifact = self.adopt(upload.digest)
            file = add_file(self.actor, upload.distribution, None, artifact, metadata, now)
            package = file.version.package
            packages[package.pk] = package
            after = {"file": upload.filename, "version": file.version.version, "size": artifact.size}
            digests = {"artifact": upload.digest}
            record(actor=self.actor, action="package.import", obj=package, after=after, digests=digests)
            self.note("package", upload.filename)
        for package in packages.values():
            refresh_package(package)
        mark_changed(index, list(packages.values()), now)

    def load_conflicts(self, row: dict[str, Any]) -> None:
        """Rules that the source had verified; the signatures of the bundle vouch for them here."""
        current = ConflictRules.objects.order_by("-pk").first()
        if current is not None and current.digest == row.get("digest"):
            return
        content = self.catalogue.get_path(row.get("rules")).read_bytes()
        try:
            document = parse_document(content, "conflicts")
        except ConflictRulesError as error:
            raise convert_fault(error) from None
        rules = load_row(ConflictRules, {**document, "digest": row.get("digest")}, ("version", "digest", "rules"))
        rules.imported_by = self.actor.label[:200]
        rules.save(force_insert=True)
        after, digests = {"version": rules.version, "rules": len(rules.rules)}, {"rules": rules.digest}
        record(actor=self.actor, action="node.import_conflicts", obj=rules, after=after, digests=digests)
        self.note("conflicts", rules.version)


def list_image_digests(manifest: bytes) -> list[str]:
    """Digests of the config and the layers that a manifest of an image names, in order."""
    try:
        document = json.loads(manifest)
        entries = [document["config"], *document["layers"]]
        return [str(entry["digest"]).removeprefix("sha256:") for entry in entries]
    except (ValueError, KeyError, TypeError):
        raise build_catalogue_error("images", "its manifest cannot be read") from None
