"""What approvers decide about when a bundle is to be applied; computed anew before anything is done."""

from __future__ import annotations

from typing import Any

from apps.core.canonical import compute_digest, sha256_hex
from apps.core.errors import NotFound, PlaneError
from apps.site.transfer.faults import BUNDLE_FAULTS, convert_fault
from apps.site.transfer.folders import convert_disk_fault, get_objects_folder
from apps.site.transfer.identity import get_applied_sequence
from apps.site.transfer.loading.catalogue import IncomingCatalogue, read_catalogue
from apps.site.transfer.loading.preview import build_preview
from apps.site.transfer.models import IncomingBundle
from apps.site.transfer.queries import list_trusted_signers
from deepseek.bundles.signatures import compute_fingerprint, verify_signatures
from deepseek.bundles.spec import BundleManifest
from deepseek.signing.dsse import Envelope

SCHEMA = "plane/bundle-facts/v1"


def parse_manifest(bundle: IncomingBundle) -> BundleManifest:
    return BundleManifest.parse(bundle.manifest.encode())


def open_catalogue(bundle: IncomingBundle) -> IncomingCatalogue:
    """The catalogue in quarantine, whose digest is computed anew. Raises NotFound where the quarantine is gone."""
    return read_catalogue(get_objects_folder(bundle), parse_manifest(bundle))


def build_bundle_facts(bundle: IncomingBundle) -> dict[str, Any]:
    """The facts of applying it: what was signed and by whom, what the scanner said, and what will change here.

    Raises Invalid where the signatures count no more, NotFound where its files are gone.
    """
    manifest, envelope = parse_manifest(bundle), Envelope.parse(bundle.envelope)
    try:
        signers = verify_signatures(envelope, manifest, list_trusted_signers(bundle.project_id, bundle.source_id))
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None
    head, rows = manifest.head, build_preview(bundle.project, open_catalogue(bundle))
    return {
        "schema": SCHEMA,
        "bundle": {
            "id": head.id,
            "digest": sha256_hex(bundle.manifest),
            "sequence": head.sequence,
            "created": head.created,
            "contents": len(head.contents),
            "objects": manifest.objects,
            "size": manifest.size,
        },
        "source": head.source.to_document(),
        "last_applied": get_applied_sequence(bundle.project_id, bundle.source_id, plane_contents=bundle.plane_contents),
        "signers": [
            {"person": signer.person, "fingerprint": compute_fingerprint(signer.public_key)} for signer in signers
        ],
        "scan": dict(bundle.scan),
        "accepted_by": bundle.accepted_by,
        "preview": {
            "new": sum(row["change"] == "new" for row in rows),
            "present": sum(row["change"] == "present" for row in rows),
            "conflicts": sum(row["change"] == "conflict" for row in rows),
            "digest": compute_digest(rows),
        },
    }


def compute_current_facts(bundle: IncomingBundle) -> dict[str, Any]:
    """The same for an approval: what makes the bundle impossible now ends it; a disk that cannot be read does not."""
    try:
        return build_bundle_facts(bundle)
    except OSError as error:
        raise convert_disk_fault(error) from None
    except PlaneError as error:
        raise NotFound("The bundle cannot be applied any more: {why}", why=error.message, field="bundle") from None
