"""Bundles that are built here: asked for, written by a worker, removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, ProjectRole
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, StorageFull, Unavailable
from apps.platform.accounts.models import Project
from apps.platform.artifacts.services import get_holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import change_state, record, seal_now
from apps.site.transfer.export.catalogue import Catalogue
from apps.site.transfer.export.selection import add_contents
from apps.site.transfer.faults import BUNDLE_FAULTS, build_error_document, convert_fault
from apps.site.transfer.folders import convert_disk_fault, get_outgoing_folder, remove_folder
from apps.site.transfer.identity import get_identity, lock_peer
from apps.site.transfer.models import OutgoingBundle
from apps.site.transfer.services.progress import ENDED, StepProgress, postpone, retry_now
from apps.site.transfer.states import OutgoingState
from deepseek.bundles.inventory import Inventory, read_inventory
from deepseek.bundles.sbom import encode_sbom
from deepseek.bundles.spec import (
    DEFAULT_VOLUME_BYTES,
    MAX_INVENTORY_BYTES,
    BundleHead,
    ObjectRef,
    PlaneRef,
)
from deepseek.bundles.volumes import OpenObject
from deepseek.bundles.writer import check_volume_bytes, write_bundle, write_durably
from deepseek.messages import N_

HEAD_FILE, MADE_FOLDER = "head.json", "made"  # beside the volumes, while they are written


def request_bundle(
    *,
    actor: Actor,
    project: Project,
    contents: Sequence[str],
    inventory: str,
    volume_bytes: int = DEFAULT_VOLUME_BYTES,
) -> OutgoingBundle:
    """Queue a bundle with these contents for the plane whose inventory is the artifact `inventory` of the project.

    Everything is looked up now, so that what is wrong is said at once; a worker writes it. Raises Invalid.
    """
    policy.require(actor, "bundle.build", project)
    try:
        check_volume_bytes(volume_bytes)
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None
    target = open_inventory(actor, project, inventory, frozenset()).plane
    if target.id == get_identity().id:
        raise Invalid(
            "The inventory is of this plane itself.",
            code="inventory_of_this_plane",
            field="/inventory",
            hint=N_("Export it on the plane that the bundle is for."),
        )
    add_contents(Catalogue(actor, project), contents)
    with transaction.atomic():
        peer = lock_peer(target)
        peer.sent_sequence += 1
        peer.name = target.name
        peer.save(update_fields=["sent_sequence", "name"])
        bundle = OutgoingBundle.objects.create(
            project=project,
            bundle_id=uuid4().hex,
            target_id=target.id,
            target_name=target.name,
            sequence=peer.sent_sequence,
            contents=list(dict.fromkeys(contents)),
            inventory=inventory,
            volume_bytes=volume_bytes,
            created_by=actor.label[:200],
        )
        record(
            actor=actor,
            action="bundle.request",
            obj=bundle,
            after={"target": target.name, "sequence": bundle.sequence, "contents": bundle.contents},
            digests={"inventory": inventory},
        )
    return bundle


def open_inventory(actor: Actor, project: Project, digest: str, wanted: Container[str]) -> Inventory:
    """The inventory that the project holds as an artifact, with those of its digests that are `wanted`. Raises
    NotFound, Invalid `inventory_malformed`."""
    holding = get_holding(actor=actor, project=project, digest=digest)
    if holding.artifact.size > MAX_INVENTORY_BYTES:
        raise Invalid(
            "The inventory has {size} bytes.",
            size=holding.artifact.size,
            code="inventory_malformed",
            field="/inventory",
            limit=MAX_INVENTORY_BYTES,
        )
    try:
        with closing(get_store().open(digest)) as reading:
            return read_inventory(reading, wanted)
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None


# -- building -------------------------------------------------------------------------------------------------------
def build_bundle(
    *, actor: Actor, bundle: OutgoingBundle, stopping: Callable[[], bool] = lambda: False
) -> OutgoingBundle:
    """Write a queued bundle. Called again after whatever stopped it, it goes on behind the last whole volume.

    What a person has to mend fails it, and is on the row; for a full disk it stays queued, and is tried again later.
    Raises StepCancelled where somebody cancels it.
    """
    policy.require(actor, "bundle.drive")
    progress = StepProgress(bundle, stopping)
    try:
        manifest = write_outgoing(bundle, progress)
    except (StorageFull, Unavailable) as error:
        postpone(actor, bundle, error)
        return bundle
    except PlaneError as error:
        return fail(actor, bundle, error)
    except BUNDLE_FAULTS as error:
        return fail(actor, bundle, convert_fault(error))
    except OSError as error:
        postpone(actor, bundle, convert_disk_fault(error))
        return bundle
    with transaction.atomic():
        change_state(
            bundle,
            OutgoingState.BUILT,
            actor=actor,
            digests={"manifest": sha256_hex(manifest)},
            manifest=manifest.decode(),
            manifest_digest=sha256_hex(manifest),
            built_at=timezone.now(),
            error=None,
            **ENDED,
        )
        seal_now()
    remove_plan(get_outgoing_folder(bundle))  # now: a build that goes on without its plan would write other volumes
    return bundle


def fail(actor: Actor, bundle: OutgoingBundle, error: PlaneError) -> OutgoingBundle:
    document = build_error_document(error)
    return change_state(bundle, OutgoingState.FAILED, actor=actor, reason=error.message, error=document, **ENDED)


def write_outgoing(bundle: OutgoingBundle, progress: StepProgress) -> bytes:
    """The bytes of bundle.json, once every volume is written."""
    folder = get_outgoing_folder(bundle)
    target = folder / MADE_FOLDER
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    progress.enter("plan")
    plan = read_plan(folder) or make_plan(bundle, folder)
    head, objects = plan
    progress.enter("write", sum(each.size for each in objects))
    open_object, size = open_from(target), bundle.volume_bytes
    return write_bundle(folder, head, objects, open_object, volume_bytes=size, count=progress.add).text


def remove_plan(folder: Path) -> None:
    remove_folder(folder / MADE_FOLDER)
    (folder / HEAD_FILE).unlink(missing_ok=True)


def make_plan(bundle: OutgoingBundle, folder: Path) -> tuple[BundleHead, list[ObjectRef]]:
    """Collect the rows and keep what was made of them, so that a build that goes on writes the same bundle."""
    target = folder / MADE_FOLDER

    def store(data: bytes) -> str:
        digest = sha256_hex(data)
        write_durably(target / digest, data)
        return digest

    reader = build_reader(bundle.project_id)
    catalogue = Catalogue(reader, bundle.project, store)
    add_contents(catalogue, bundle.contents)
    inventory = open_inventory(reader, bundle.project, bundle.inventory, catalogue.objects.keys())
    source, created = get_identity(), timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    text = catalogue.encode()
    sbom = encode_sbom(bundle.bundle_id, created, source.name, catalogue.contents)
    own = [ObjectRef(store(data), len(data)) for data in (text, sbom)]
    head = BundleHead(
        id=bundle.bundle_id,
        source=source,
        target=PlaneRef(bundle.target_id, bundle.target_name),
        sequence=bundle.sequence,
        created=created,
        inventory=inventory.digest,
        contents=tuple(catalogue.contents),
        catalogue=own[0],
        sbom=own[1],
    )
    objects = [*own, *catalogue.select_carried(inventory.digests)]
    write_durably(folder / HEAD_FILE, encode_plan(head, objects))
    return head, objects


def build_reader(project_id: int) -> Actor:
    """Who reads for a bundle that a member asked for: what every member of its project sees, and no more. Not of the
    kind `plane`, which security labels do not bind."""
    roles = {project_id: frozenset({ProjectRole.VIEWER})}
    return Actor(kind="service_account", label="bundle", project_roles=roles)


def encode_plan(head: BundleHead, objects: Sequence[ObjectRef]) -> bytes:
    document = {
        "created": head.created,
        "inventory": head.inventory,
        "contents": [content.to_document() for content in head.contents],
        "source": head.source.to_document(),
        "objects": [[ref.digest, ref.size] for ref in objects],
        "target": head.target.to_document(),
        "id": head.id,
        "sequence": head.sequence,
    }
    return json.dumps(document).encode()


def read_plan(folder: Path) -> tuple[BundleHead, list[ObjectRef]] | None:
    """What an earlier attempt wrote down; None where there was none."""
    from deepseek.bundles.spec import Content

    path = folder / HEAD_FILE
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_bytes())
    objects = [ObjectRef(digest, size) for digest, size in document["objects"]]
    head = BundleHead(
        id=document["id"],
        source=PlaneRef(**document["source"]),
        target=PlaneRef(**document["target"]),
        sequence=document["sequence"],
        created=document["created"],
        inventory=document["inventory"],
        contents=tuple(Content(**content) for content in document["contents"]),
        catalogue=objects[0],
        sbom=objects[1],
    )
    return head, objects


def open_from(made: Path) -> OpenObject:
    """Objects that were made for the bundle from its folder, all others from the store."""

    def open_object(digest: str, start: int, end: int) -> Iterator[bytes]:
        path = made / digest
        if path.is_file():
            with path.open("rb") as file:
                file.seek(start)
                yield file.read(end - start)
            return
        try:
            with closing(get_store().open(digest, start, end)) as reading:
                yield from reading
        except FileNotFoundError:
            raise NotFound(
                "The bytes of {digest} are gone.",
                digest=digest,
                code="artifact_missing",
                field="/contents",
                hint=N_("Upload them again, then build the bundle again."),
            ) from None

    return open_object


# -- afterwards -----------------------------------------------------------------------------------------------------
def retry_bundle(*, actor: Actor, bundle: OutgoingBundle) -> OutgoingBundle:
    """Build a failed or cancelled one again, under the same number; one that waits for its next try is due now."""
    policy.require(actor, "bundle.build", bundle)
    if bundle.state == OutgoingState.QUEUED and bundle.retry_at is not None:
        return retry_now(actor, bundle)
    if bundle.state not in (OutgoingState.FAILED, OutgoingState.CANCELLED):
        raise build_state_error(bundle.state, OutgoingState.FAILED)
    return change_state(bundle, OutgoingState.QUEUED, actor=actor, action="bundle.retry", error=None, **ENDED)


def remove_bundle(*, actor: Actor, bundle: OutgoingBundle) -> OutgoingBundle:
    """Remove its files from here; the row, with its manifest, stays."""
    policy.require(actor, "bundle.build", bundle)
    if bundle.state not in (OutgoingState.BUILT, OutgoingState.FAILED, OutgoingState.CANCELLED):
        raise build_state_error(bundle.state, OutgoingState.BUILT)
    change_state(bundle, OutgoingState.REMOVED, actor=actor, action="bundle.remove")
    remove_folder(get_outgoing_folder(bundle))
    return bundle


def build_state_error(state: str, needed: str) -> Conflict:
    return Conflict(
        "The bundle is {found}.",
        found=state,
        code="bundle_state",
        field="state",
        limit=needed,
        hint=N_("Look at the bundle: it says what comes next."),
    )
