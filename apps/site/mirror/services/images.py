"""An image into the plane: every hash is checked here, then its parts lie in the store by digest."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.platform.artifacts.digests import CHUNK_BYTES
from apps.platform.artifacts.services import adopt_for_plane, store_for_plane
from apps.platform.artifacts.store import StoredBytes
from apps.platform.artifacts.verification import request_scrub
from apps.platform.audit.faults import translate_disk_fault
from apps.platform.audit.services import record
from apps.site.mirror.images.archive import GZIP, ArchivedImage, LayerStream, build_manifest, read_archive, unpack_gzip
from apps.site.mirror.images.errors import build_image_error, build_tampering_error
from apps.site.mirror.images.references import parse_reference
from apps.site.mirror.models import ContainerImage, ImageLayer, ImageTag
from apps.site.mirror.services.imports import check_room
from deepseek.messages import N_, Message

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def import_image(
    *, actor: Actor, path: Path, name: str = "", architecture: str = "", move_tag: bool = False
) -> list[ImageTag]:
    """Take the image of a docker-archive or OCI archive under its own names, or under `name`. Returns its tags.

    `architecture`: amd64, arm64...; empty: this host's. `move_tag`: a name that leads to another image moves to this.

    Raises Invalid (`image_invalid`, `image_tampered`, `image_name_invalid`, `unsafe_archive`, `archive_bomb`), Conflict
    (`image_tag_exists`), StorageFull; then nothing was imported.
    """
    policy.require(actor, "image.import")
    architecture = architecture or ARCHITECTURES.get(platform.machine(), platform.machine())
    with open_archive(path) as file:
        image = read_archive(file, path.name, architecture)
        references = [parse_reference(text) for text in ([name] if name else image.names)]
        if not references:
            raise build_image_error(path.name, Message("it has no name, and none was given (--name demo/app:v1)"))
        check_room(sum(part.size for part in image.layers))
        layers, manifest = store_layers(actor, file, image, path.name)
    config = store_for_plane(actor=actor, stream=[image.config])
    digest = hashlib.sha256(manifest).hexdigest()
    with transaction.atomic():
        row = ContainerImage.objects.filter(manifest_digest=digest).first()
        if row is None:
            row = ContainerImage.objects.create(
                manifest_digest=digest,
                manifest=manifest,
                media_type=image.media_type,
                config=adopt_for_plane(actor=actor, stored=config),
                architecture=architecture,
                size=config.size + sum(layer.size for layer in layers),
                source_name=path.name[:255],
                imported_by=actor.label[:200],
            )
            for position, layer in enumerate(layers):
                artifact = adopt_for_plane(actor=actor, stored=layer)
                ImageLayer.objects.create(image=row, position=position, artifact=artifact)
                if artifact.size > CHUNK_BYTES and artifact.chunked_at is None:
                    transaction.on_commit(partial(request_scrub, artifact))  # ranges of large layers wait for it
            record(
                actor=actor,
                action="image.import",
                obj=row,
                after={
                    "source": row.source_name,
                    "size": row.size,
                    "names": [f"{name}:{tag}" for name, tag in references],
                },
                digests={"manifest": digest},
            )
        return [set_tag(actor, row, repository, tag, move_tag) for repository, tag in references]


@contextmanager
def open_archive(path: Path) -> Iterator[BinaryIO]:
    """The archive, unpacked into a temporary file where it is packed by gzip. Raises Invalid."""
    try:
        with path.open("rb") as file:
            if file.read(2) != GZIP:
                yield file
                return
            file.seek(0)
            with tempfile.TemporaryFile(dir=settings.UPLOADS) as unpacked:
                unpack_gzip(file, unpacked, path.name, path.stat().st_size)
                yield unpacked
    except OSError as failure:
        translated = translate_disk_fault(failure)
        if translated is not None:
            raise translated from failure
        raise build_image_error(path.name, Message("{fault}", fault=failure.strerror or str(failure))) from None


def store_layers(actor: Actor, file: BinaryIO, image: ArchivedImage, name: str) -> tuple[list[StoredBytes], bytes]:
    """Every layer into the store, compared with its digests on the way; and the manifest."""
    layers: list[StoredBytes] = []
    entries: list[tuple[str, int, bool]] = []
    for part in image.layers:
        stream = LayerStream(file, part, name)
        try:
            stored = store_for_plane(
                actor=actor,
                stream=stream,
                expected_digest=stream.expected or None,
                expected_size=part.size,
                with_chunks=False,
            )
        except Invalid as fault:
            if fault.code == "digest_mismatch":
                raise build_tampering_error(name, part.name) from None
            raise
        layers.append(stored)
        entries.append((stored.digest, stored.size, stream.is_packed))
    return layers, image.manifest or build_manifest(image.config, entries)


def set_tag(actor: Actor, image: ContainerImage, repository: str, tag: str, move: bool) -> ImageTag:
    """Let a name lead to the image. Raises Conflict (`image_tag_exists`) where it leads to another one."""
    row = ImageTag.objects.select_for_update().select_related("image").filter(repository=repository, tag=tag).first()
    if row is not None and row.image_id == image.pk:
        return row
    if row is not None and not move:
        raise Conflict(
            "{name} leads to another image, sha256:{digest}.",
            name=str(row),
            digest=row.image.manifest_digest,
            code="image_tag_exists",
            field="name",
            hint=N_("Choose another tag, or move it: --move. Who pins the digest keeps the old image."),
        )
    before = {"digest": row.image.manifest_digest} if row else {}
    changed, _ = ImageTag.objects.update_or_create(
        repository=repository,
        tag=tag,
        defaults={"image": image, "tagged_by": actor.label[:200], "tagged_at": timezone.now()},
    )
    after = {"name": str(changed), "digest": image.manifest_digest}
    record(actor=actor, action="image.tag", obj=image, before=before, after=after)
    return changed
