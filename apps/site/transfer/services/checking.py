"""The check of a bundle in quarantine: every byte, the signatures, the scanner, what it needs, what it will change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError, StorageFull
from apps.platform.artifacts.bulk_sql import find_incomplete_digests, find_unheld_digests
from apps.platform.audit.services import change_state, seal_now
from apps.site.mirror.distributions import read_distribution
from apps.site.mirror.models import PackageFile
from apps.site.transfer.facts import check_signatures, open_catalogue, parse_manifest, summarize_preview
from apps.site.transfer.faults import (
    BUNDLE_FAULTS,
    NONSENSE_FAULTS,
    build_error_document,
    build_nonsense_error,
    convert_fault,
    replace_unstorable,
)
from apps.site.transfer.folders import convert_disk_fault, get_incoming_folder, get_objects_folder, remove_folder
from apps.site.transfer.loading.catalogue import IncomingCatalogue, build_missing_error
from apps.site.transfer.loading.integrity import check_named_files, check_series
from apps.site.transfer.loading.mirror import open_package
from apps.site.transfer.loading.preview import build_preview
from apps.site.transfer.models import IncomingBundle
from apps.site.transfer.queries import list_mirror_digests
from apps.site.transfer.scanning import scan_folder
from apps.site.transfer.services.incoming import check_sequence, check_target
from apps.site.transfer.services.progress import ENDED, StepProgress, postpone
from apps.site.transfer.states import IncomingState
from deepseek.bundles.extraction import extract_volume, join_parts
from deepseek.bundles.spec import BundleManifest
from deepseek.bundles.verification import check_objects
from deepseek.signing.dsse import Envelope

log = logging.getLogger(__name__)
MAX_PREVIEW_ROWS = 2_000  # that are kept; the digest is of all


def check_bundle(
    *, actor: Actor, bundle: IncomingBundle, stopping: Callable[[], bool] = lambda: False
) -> IncomingBundle:
    """Check a received bundle: afterwards it is `checked`, or `refused` with the reason. Done again from its beginning
    whatever stopped it; for a full disk later. Raises StepCancelled where somebody cancels it."""
    policy.require(actor, "bundle.drive")
    progress = StepProgress(bundle, stopping)
    try:
        scan, preview = examine_bundle(actor, bundle, progress)
    except StorageFull as error:
        postpone(actor, bundle, error)
        return bundle
    except PlaneError as error:
        return refuse(actor, bundle, error)
    except BUNDLE_FAULTS as error:
        return refuse(actor, bundle, convert_fault(error))
    except OSError as error:
        remove_folder(get_objects_folder(bundle))  # what was written keeps others from the disk
        postpone(actor, bundle, convert_disk_fault(error))
        return bundle
    except NONSENSE_FAULTS as error:
        log.exception("the catalogue of bundle %s", bundle.pk)
        return refuse(actor, bundle, build_nonsense_error(error))
    with transaction.atomic():
        change_state(
            bundle,
            IncomingState.CHECKED,
            actor=actor,
            digests={"manifest": bundle.manifest_digest},
            scan=scan,
            preview=preview,
            error=None,
            **ENDED,
        )
        seal_now()
    return bundle


def refuse(actor: Actor, bundle: IncomingBundle, error: PlaneError) -> IncomingBundle:
    error = replace_unstorable(error)
    digests, document = {"manifest": bundle.manifest_digest}, build_error_document(error)
    with transaction.atomic():
        change_state(
            bundle,
            IncomingState.REFUSED,
            actor=actor,
            reason=error.message,
            digests=digests,
            error=document,
            scan={},  # of an earlier check: neither says anything of what is there now
            preview={},
            **ENDED,
        )
        seal_now()
    remove_folder(get_objects_folder(bundle))  # nothing unverified stays but the volumes, which may be sent again
    return bundle


def examine_bundle(
    actor: Actor, bundle: IncomingBundle, progress: StepProgress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(scan, preview) of a bundle that is in order. Raises PlaneError, EngineError, OSError for what is not."""
    manifest = parse_manifest(bundle)
    check_target(manifest)
    check_sequence(bundle.project_id, manifest)
    extract_objects(bundle, manifest, progress)
    progress.enter("scan")
    scan = scan_folder(get_objects_folder(bundle), progress.check)
    progress.enter("compare")
    catalogue = open_catalogue(bundle)
    check_needs(actor, bundle, catalogue)
    for row in catalogue.rows["model_versions"]:
        check_named_files(row)
    for row in catalogue.rows["runs"]:
        check_series(row, catalogue.read_document(row.get("series")))
    for row in catalogue.rows["packages"]:
        if not PackageFile.objects.filter(filename=row.get("filename"), artifact=row.get("artifact")).exists():
            with open_package(catalogue, row.get("artifact")) as path:
                read_distribution(path, str(row.get("filename")))
    check_signatures(bundle.project_id, Envelope.parse(bundle.envelope), manifest)
    rows = build_preview(bundle.project, catalogue)
    return scan, {**summarize_preview(rows), "rows": rows[:MAX_PREVIEW_ROWS]}


def extract_objects(bundle: IncomingBundle, manifest: BundleManifest, progress: StepProgress) -> None:
    """Verify every volume and put its objects into quarantine, under their digests."""
    folder, objects = get_incoming_folder(bundle), get_objects_folder(bundle)
    progress.enter("verify", manifest.size)
    remove_folder(objects)
    digests: set[str] = set()
    for volume in manifest.volumes:
        parts = extract_volume(folder / volume.name, volume, manifest.head.id, objects, progress.add)
        digests.update(part.digest for part in parts)
    for digest in sorted(digests):
        join_parts(objects, digest)
    check_objects(manifest, len(digests))


def check_needs(actor: Actor, bundle: IncomingBundle, catalogue: IncomingCatalogue) -> None:
    """Raise NotFound `object_missing` for bytes that rows name and that are neither carried nor the project's or the
    mirror's: a bundle gets no project the bytes of another one by their digest."""
    carried = set(catalogue.list_carried())
    needed = [digest for digest in catalogue.sizes if digest not in carried]
    absent = find_incomplete_digests(needed)
    if unheld := find_unheld_digests(bundle.project_id, needed) - absent:
        absent |= unheld - list_mirror_digests(actor)
    if absent:
        raise build_missing_error(min(absent))
