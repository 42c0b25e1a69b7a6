"""SHA-1 and MD5 of the files that devices get: computed once for each artifact, never for each request.

A small file is read at once, by whoever needs its hashes first. Of a larger one the hashes are computed by a worker;
until they are there, the plane offers the file to nobody.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import closing, suppress

from celery import current_app
from django.core.cache import cache

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.gateways.hawkbit.models import FileHashes
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import open_verified

log = logging.getLogger(__name__)
HASH_TASK = "workers.housekeeping.hash_update_file"
INLINE_BYTES = 16 << 20  # 0.05 s of a web process
RING_SECONDS = 600  # before a worker is asked again for the same file


def find_hashes(artifact: Artifact) -> FileHashes | None:
    """The hashes of an artifact; None while a worker computes them."""
    hashes = FileHashes.objects.filter(pk=artifact.pk).first()
    if hashes is None and artifact.size <= INLINE_BYTES:
        return hash_file(actor=build_plane_actor(PlaneRole.WORKER), artifact=artifact)
    if hashes is None:
        request_hashes(artifact)
    return hashes


def request_hashes(artifact: Artifact) -> None:
    """Have a worker compute the hashes. A broker that is away: the next poll asks again."""
    key = f"hawkbit-hashes:{artifact.pk}"
    if not cache.add(key, 1, RING_SECONDS):
        return
    try:
        current_app.send_task(HASH_TASK, args=[artifact.pk], ignore_result=True, retry=False)
    except Exception:  # whatever the transport raises
        log.warning("the hashes of %s could not be requested", artifact.pk, exc_info=True)
        with suppress(Exception):
            cache.delete(key)


def hash_stored_file(*, actor: Actor, digest: str) -> None:
    """The same by digest, for a worker; nothing where the artifact is gone."""
    policy.require(actor, "artifact.scrub")
    artifact = Artifact.objects.filter(pk=digest).first()
    if artifact is not None:
        hash_file(actor=actor, artifact=artifact)


def hash_file(*, actor: Actor, artifact: Artifact) -> FileHashes:
    """Read an artifact whole and keep its hashes. Raises DamagedBytes where the stored bytes are not right."""
    policy.require(actor, "artifact.scrub")
    present = FileHashes.objects.filter(pk=artifact.pk).first()
    if present is not None:
        return present
    sha1, md5 = hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    with closing(open_verified(artifact)) as chunks:
        for chunk in chunks:
            sha1.update(chunk)
            md5.update(chunk)
    row = FileHashes(digest=artifact.pk, sha1=sha1.hexdigest(), md5=md5.hexdigest())
    FileHashes.objects.bulk_create([row], ignore_conflicts=True)  # two at once find the same
    return row
