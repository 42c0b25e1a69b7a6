"""A worker's round: build what is queued, check what was received, load what was approved; and what is removed later.

The row is the queue, oldest first; a lock on the folder keeps two workers from one bundle, and a killed one holds
nothing. Every step is done again from its beginning, or goes on behind what it has written: it may be killed anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.site.transfer.folders import (
    convert_disk_fault,
    get_incoming_folder,
    get_outgoing_folder,
    get_transfer_folder,
    hold_folder,
    remove_folder,
)
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from apps.site.transfer.queries import list_due_incoming, list_due_outgoing
from apps.site.transfer.services.cancellation import QUARANTINED, discard_abandoned
from apps.site.transfer.services.checking import check_bundle
from apps.site.transfer.services.loading import load_bundle
from apps.site.transfer.services.outgoing import build_bundle
from apps.site.transfer.services.progress import StepCancelled, build_unexpected_error, postpone
from apps.site.transfer.states import IncomingState, OutgoingState

log = logging.getLogger(__name__)
Stopping = Callable[[], bool]


def drive_bundles(*, actor: Actor, stopping: Stopping = lambda: False) -> int:
    """Take every bundle that is due a step further, one after another; how many were."""
    policy.require(actor, "bundle.drive")
    done = 0
    for outgoing in list_due_outgoing(actor):
        build = partial(build_bundle, actor=actor, bundle=outgoing, stopping=stopping)
        done += not stopping() and drive(actor, outgoing, get_outgoing_folder(outgoing), build)
    steps: dict[str, Callable[..., IncomingBundle]]
    steps = {IncomingState.CHECKING: check_bundle, IncomingState.APPROVED: load_bundle}
    for incoming in list_due_incoming(actor):
        step = partial(steps[incoming.state], actor=actor, bundle=incoming, stopping=stopping)
        done += not stopping() and drive(actor, incoming, get_incoming_folder(incoming), step)
    return done


def drive(actor: Actor, bundle: OutgoingBundle | IncomingBundle, folder: Path, step: Callable[[], object]) -> bool:
    try:
        with hold_folder(folder) as is_alone:
            return is_alone and take_step(actor, bundle, folder, step)
    except OSError as error:  # of the lock: the others are not kept waiting by it
        postpone(actor, bundle, convert_disk_fault(error))
        return False


def take_step(actor: Actor, bundle: OutgoingBundle | IncomingBundle, folder: Path, step: Callable[[], object]) -> bool:
    state = bundle.state
    try:
        bundle.refresh_from_db()
        if bundle.state != state:  # another worker took the step between the list and the lock
            return False
        step()
    except (StepCancelled, StaleState):
        log.info("bundle in %s: its step was cancelled", folder.name)
        return False
    except Exception as error:
        log.exception("bundle in %s: tried again later", folder.name)
        postpone(actor, bundle, build_unexpected_error(error))
        return False
    return True


def sweep_bundles(*, actor: Actor) -> int:
    """Discard what lies in quarantine and nobody cares for, and remove what a killed process left; how many bundles
    were discarded."""
    policy.require(actor, "bundle.drive")
    count = 0
    oldest = timezone.now() - timedelta(days=settings.ENV.transfer_quarantine_days)
    for incoming in IncomingBundle.objects.filter(state__in=QUARANTINED, touched_at__lt=oldest).order_by("pk"):
        count += discard_abandoned(actor, incoming, oldest)
    remove_leftovers()
    return count


def remove_leftovers() -> None:
    """Remove the folders of bundles that have ended, whose process was killed before it could."""
    received = list_names("incoming")
    ended = IncomingBundle.objects.filter(state__in=(IncomingState.APPLIED, IncomingState.DISCARDED))
    for incoming in ended.filter(pk__in=[int(name) for name in received if name.isascii() and name.isdecimal()]):
        remove_folder(get_incoming_folder(incoming))
    removed = OutgoingBundle.objects.filter(state=OutgoingState.REMOVED, bundle_id__in=list_names("outgoing"))
    for outgoing in removed:
        remove_folder(get_outgoing_folder(outgoing))


def list_names(part: str) -> list[str]:
    """Names of the folders in this part of the folder of bundles."""
    folder = get_transfer_folder() / part
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
