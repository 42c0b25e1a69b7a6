"""An approved bundle into the plane: its objects into the store first, then all its rows in one transaction.

Before the rows, everything that was approved is computed anew; if anything is different now, nothing is applied, and
the approval is spent. A fault of the machine spends nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Conflict, PlaneError, StaleState, StorageFull, Unavailable
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.intake import Intake
from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.queries import list_damaged_digests
from apps.platform.artifacts.store import CHUNK, StoredBytes
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import change_state, seal_now
from apps.site.transfer.facts import build_bundle_facts, open_catalogue
from apps.site.transfer.faults import (
    BUNDLE_FAULTS,
    NONSENSE_FAULTS,
    build_error_document,
    build_nonsense_error,
    build_replay_error,
    convert_fault,
    replace_unstorable,
)
from apps.site.transfer.folders import convert_disk_fault, get_incoming_folder, remove_folder
from apps.site.transfer.identity import lock_applied_sequence, lock_peer
from apps.site.transfer.loading.catalogue import IncomingCatalogue
from apps.site.transfer.loading.loader import BundleLoader
from apps.site.transfer.loading.mirror import PackageUpload, read_packages
from apps.site.transfer.models import IncomingBundle
from apps.site.transfer.services.checking import check_needs
from apps.site.transfer.services.progress import ENDED, StepProgress, postpone
from apps.site.transfer.states import IncomingState
from deepseek.bundles.spec import PlaneRef
from deepseek.bundles.volumes import build_damage_error
from deepseek.messages import N_

log = logging.getLogger(__name__)


def load_bundle(
    *, actor: Actor, bundle: IncomingBundle, stopping: Callable[[], bool] = lambda: False
) -> IncomingBundle:
    """Apply an approved bundle whole, or send it back to quarantine with the reason. For a fault of the machine, such
    as a full disk, it stays approved. May be killed anywhere. Raises StepCancelled where somebody cancels it."""
    policy.require(actor, "bundle.drive")
    progress = StepProgress(bundle, stopping)
    try:
        progress.enter("compare")
        catalogue = open_catalogue(bundle)
        check_approval(bundle, catalogue)
        check_needs(actor, bundle, catalogue)  # what was here at the check may have gone
        stored = store_objects(catalogue, progress)
        # The approval is the authority; what is done with it is the plane's own act.
        operator = build_plane_actor(PlaneRole.OPERATOR, host=f"bundle {bundle.pk}")
        uploads = read_packages(operator, catalogue)
        progress.enter("rows")
        with transaction.atomic():
            apply_rows(operator, bundle, catalogue, stored, uploads)
            seal_now()
    except StaleState:  # it was cancelled at the last moment
        raise
    except (StorageFull, Unavailable) as error:
        postpone(actor, bundle, error)
        return bundle
    except PlaneError as error:
        return send_back(actor, bundle, error)
    except BUNDLE_FAULTS as error:
        return send_back(actor, bundle, convert_fault(error))
    except OSError as error:
        postpone(actor, bundle, convert_disk_fault(error))
        return bundle
    except NONSENSE_FAULTS as error:
        log.exception("the rows of bundle %s", bundle.pk)
        return send_back(actor, bundle, build_nonsense_error(error))
    remove_folder(get_incoming_folder(bundle))
    return bundle


def send_back(actor: Actor, bundle: IncomingBundle, error: PlaneError) -> IncomingBundle:
    bundle.refresh_from_db()
    if bundle.state != IncomingState.APPROVED:  # it was cancelled meanwhile
        return bundle
    error = replace_unstorable(error)
    digests, document = {"manifest": bundle.manifest_digest}, build_error_document(error)
    with transaction.atomic():
        fields = {"reason": error.message, "digests": digests, "error": document, **ENDED}
        change_state(bundle, IncomingState.CHECKED, actor=actor, **fields)
        seal_now()
    return bundle


def check_approval(bundle: IncomingBundle, catalogue: IncomingCatalogue) -> None:
    """Raise Conflict `bundle_facts_changed` unless what was approved is what stands now."""
    approval = Approval.objects.filter(pk=bundle.approval_id or 0, project=bundle.project_id).first()
    is_approved = approval is not None and approval.state == ApprovalState.APPROVED
    facts = encode_canonical_json(build_bundle_facts(bundle, catalogue))
    if approval is not None and is_approved and sha256_hex(facts) == approval.facts_digest:
        return
    raise Conflict(
        "What was approved is not what stands now: nothing was applied.",
        code="bundle_facts_changed",
        field="facts",
        limit=approval.facts_digest if approval else None,
        hint=N_("Check the bundle again, look at the preview, and ask for approval again."),
    )


def store_objects(catalogue: IncomingCatalogue, progress: StepProgress) -> dict[str, StoredBytes]:
    """Every carried object into the store, hashed once more on the way; one that is there is left alone.

    Into a store in a folder they go together: all of them are durable before the first has its name, by one flush.
    """
    store, sizes = get_store(), {digest: catalogue.get_size(digest) for digest in catalogue.list_carried()}
    damaged = list_damaged_digests() & sizes.keys()
    progress.enter("store", sum(sizes.values()))
    missing = store.lacking(sizes) | damaged
    stored = {digest: StoredBytes(digest, size) for digest, size in sizes.items() if digest not in missing}
    progress.add(sum(each.size for each in stored.values()))
    if isinstance(store, LocalStore):
        with Intake(store, damaged=damaged) as intake:
            for digest in sorted(missing):
                read_file = intake.take(catalogue.get_path(digest))
                if read_file.digest != digest:
                    raise build_damage_error(digest)
                stored[digest] = StoredBytes(digest, read_file.size, read_file.chunks, read_file.replaced)
                progress.add(read_file.size)
            intake.finish()
        return stored
    for digest in sorted(missing):
        with store.open_staging(digest) as staging:
            for chunk in progress.watch(iter_file(catalogue.get_path(digest))):
                staging.write(chunk)
            staging.publish(digest, sizes[digest], damaged.__contains__)
        stored[digest] = staging.stored
    return stored


def iter_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def apply_rows(
    operator: Actor,
    bundle: IncomingBundle,
    catalogue: IncomingCatalogue,
    stored: dict[str, StoredBytes],
    uploads: Sequence[PackageUpload],
) -> None:
    """All rows, the lineage and the record. Raises Conflict where a newer bundle was applied meanwhile."""
    manifest = catalogue.manifest
    mine = lock_applied_sequence(bundle.project_id, bundle.source_id)
    peer = lock_peer(PlaneRef(bundle.source_id, bundle.source_name)) if bundle.plane_contents else None
    applied = max(mine.sequence, peer.applied_sequence if peer else 0)
    if bundle.sequence <= applied:
        raise build_replay_error(bundle.sequence, applied, bundle.source_name)
    check_approval(bundle, catalogue)  # again, behind the locks
    report = BundleLoader(operator, bundle.project, catalogue, stored, uploads).load()
    mine.sequence = bundle.sequence
    mine.save(update_fields=["sequence"])
    if peer is not None:
        peer.applied_sequence, peer.name = bundle.sequence, bundle.source_name
        peer.save(update_fields=["applied_sequence", "name"])
    change_state(
        bundle,
        IncomingState.APPLIED,
        actor=operator,
        reason=f"approval {bundle.approval_id}",
        digests={"manifest": manifest.digest, "catalogue": manifest.head.catalogue.digest},
        action="bundle.apply",
        guard={"approval_id": bundle.approval_id},  # not another one, after a cancel
        applied_at=timezone.now(),
        preview={**bundle.preview, "applied": json.loads(json.dumps(report))},
        error=None,
        **ENDED,
    )
