"""What a device is offered of a release: one chunk with one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from apps.core.canonical import sha256_hex
from apps.fleet.releases.models import Release
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.gateways.hawkbit.documents import Chunk, OfferedFile, build_deployment
from apps.gateways.hawkbit.queries import get_served_file, is_maintenance_open
from apps.gateways.hawkbit.services import find_hashes
from apps.platform.artifacts.models import Artifact

PART = "application"
TAG_LENGTH = 12


class Offer(NamedTuple):
    """`is_window_open`: None where the project has no maintenance window."""

    release: Release
    artifact: Artifact
    file: OfferedFile
    is_window_open: bool | None


def find_offer(release: Release, root: str) -> Offer | None:
    """The file of a release, below the address `root` of a device.

    None while its hashes are computed, and where the release or the key that signed it is revoked: an agent would see
    that itself, a stock client cannot.
    """
    if release.state == ReleaseState.REVOKED or release.key.state == KeyState.REVOKED:
        return None
    served = get_served_file(release)
    hashes = find_hashes(served.artifact)
    if hashes is None:
        return None
    file = OfferedFile(
        name=served.name,
        size=served.artifact.size,
        sha1=hashes.sha1,
        md5=hashes.md5,
        sha256=served.artifact.digest,
        href=f"{root}/softwaremodules/{release.pk}/artifacts/{quote(served.name, safe='')}",
    )
    return Offer(release, served.artifact, file, is_maintenance_open(release.project_id))


def build_version_tag(offer: Offer) -> str:
    """Another one where the deployment has changed, by which a client sees that it has to read it again."""
    return sha256_hex(f"{offer.artifact.digest} {offer.file.name} {offer.is_window_open}")[:TAG_LENGTH]


def build_offer_document(action_id: int, offer: Offer, messages: Sequence[str] | None, status: str) -> dict[str, Any]:
    """The deployment. Its chunk tells of the model, and of the plane's signed statement by its digest."""
    release = offer.release
    version = release.variant.version
    metadata = {
        "variant": release.variant.name,
        "format": release.format,
        "architecture": release.architecture,
        "sequence": str(release.sequence),
        "release": release.payload_digest,
    }
    chunk = Chunk(PART, release.model_name, str(version.number), [offer.file], metadata)
    return build_deployment(action_id, [chunk], is_window_open=offer.is_window_open, history=messages, status=status)
