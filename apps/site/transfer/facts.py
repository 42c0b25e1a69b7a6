"""What approvers decide about when a bundle is to be applied; computed anew before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.core.canonical import compute_digest, sha256_hex
from apps.core.errors import Invalid, NotFound, PlaneError
from apps.site.transfer.faults import BUNDLE_FAULTS, convert_fault
from apps.site.transfer.folders import convert_disk_fault, get_objects_folder
from apps.site.transfer.identity import get_applied_sequence
from apps.site.transfer.loading.catalogue import IncomingCatalogue, read_catalogue
from apps.site.transfer.loading.preview import Row, build_preview
from apps.site.transfer.models import BundleSigner, IncomingBundle
from apps.site.transfer.queries import find_lapsed_signer, list_trusted_signers
from apps.site.transfer.states import SignerState
from deepseek.bundles.signatures import TrustedSigner, compute_fingerprint, verify_signatures
from deepseek.bundles.spec import BundleManifest
from deepseek.messages import N_
from deepseek.signing.dsse import Envelope

SCHEMA = "plane/bundle-facts/v1"


def parse_manifest(bundle: IncomingBundle) -> BundleManifest:
    return BundleManifest.parse(bundle.manifest.encode())


def open_catalogue(bundle: IncomingBundle) -> IncomingCatalogue:
    """The catalogue in quarantine, whose digest is computed anew. Raises NotFound where the quarantine is gone."""
    return read_catalogue(get_objects_folder(bundle), parse_manifest(bundle))


def build_bundle_facts(bundle: IncomingBundle, catalogue: IncomingCatalogue | None = None) -> dict[str, Any]:
    """The facts of applying it: what was signed and by whom, what the scanner said, and what will change here.

    With its `catalogue` the preview is computed anew; without, it is that of the last check, so that a look at an
    approval reads no catalogue of hundreds of megabytes. Raises Invalid where the signatures count no more.
    """
    manifest = parse_manifest(bundle)
    signers = check_signatures(bundle.project_id, Envelope.parse(bundle.envelope), manifest)
    preview = bundle.preview
    if catalogue is not None:
        preview = summarize_preview(build_preview(bundle.project, catalogue))
    head = manifest.head
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
        "preview": {name: preview.get(name) for name in ("new", "present", "conflicts", "digest")},
    }


def summarize_preview(rows: Sequence[Row]) -> dict[str, Any]:
    """How many rows of each change, and the digest of all of them."""
    return {
        "new": sum(row["change"] == "new" for row in rows),
        "present": sum(row["change"] == "present" for row in rows),
        "conflicts": sum(row["change"] == "conflict" for row in rows),
        "digest": compute_digest(list(rows)),
    }


def check_signatures(project_id: int, envelope: Envelope, manifest: BundleManifest) -> list[TrustedSigner]:
    """The people who signed, if the project trusts them for its source. Raises Invalid, which says of a key that was
    revoked or has expired whose it was."""
    source = manifest.head.source.id
    try:
        return verify_signatures(envelope, manifest, list_trusted_signers(project_id, source))
    except BUNDLE_FAULTS as error:
        keys = [each.key_id for each in envelope.signatures]
        lapsed = find_lapsed_signer(project_id, source, keys) if error.code == "key_unknown" else None
        raise (build_lapsed_error(lapsed) if lapsed else convert_fault(error)) from None


def build_lapsed_error(signer: BundleSigner) -> PlaneError:
    revoked, expired = N_("The key {key_id} of {person} is revoked."), N_("The key {key_id} of {person} has expired.")
    return Invalid(
        revoked if signer.state == SignerState.REVOKED else expired,
        key_id=signer.key_id,
        person=signer.person,
        code="key_unknown",
        field="/signatures",
        limit=N_("keys that are trusted now"),
        hint=N_("Let a person sign it whose key is trusted, or have the approvers trust a new key of this one."),
    )


def compute_current_facts(bundle: IncomingBundle, *, deep: bool) -> dict[str, Any]:
    """The same for an approval: what makes the bundle impossible now ends it; a disk that cannot be read does not."""
    try:
        return build_bundle_facts(bundle, open_catalogue(bundle) if deep else None)
    except OSError as error:
        raise convert_disk_fault(error) from None
    except PlaneError as error:
        raise NotFound("The bundle cannot be applied any more: {why}", why=error.message, field="bundle") from None
