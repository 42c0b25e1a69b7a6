"""The worker's round: build what is queued, check what was received, load what was approved.

The row is the queue; a lock on the folder keeps two workers from one bundle, and a killed one holds nothing. Every
step is done again from its beginning, or goes on behind what it has written, so it may be killed anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from celery import current_app
from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.site.transfer.folders import (
    get_incoming_folder,
    get_outgoing_folder,
    get_transfer_folder,
    hold_folder,
    remove_folder,
)
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from apps.site.transfer.services.checking import check_bundle
from apps.site.transfer.services.loading import load_bundle
from apps.site.transfer.services.outgoing import build_bundle
from apps.site.transfer.states import IncomingState, OutgoingState

log = logging.getLogger(__name__)
TASK = "workers.housekeeping.drive_bundles"


def ring() -> None:
    """Have a worker look at once, after the commit; one that does not hear it looks within a minute."""

    def send() -> None:
        with suppress(Exception):
            current_app.send_task(TASK, ignore_result=True, retry=False)

    transaction.on_commit(send)


def drive_bundles(*, actor: Actor) -> int:
    """Do everything that waits; how many bundles were taken a step further."""
    policy.require(actor, "bundle.drive")
    done = 0
    for outgoing in OutgoingBundle.objects.filter(state=OutgoingState.QUEUED).order_by("pk"):
        done += drive(outgoing, get_outgoing_folder(outgoing), partial(build_bundle, actor=actor, bundle=outgoing))
    steps = {IncomingState.CHECKING: check_bundle, IncomingState.APPROVED: load_bundle}
    for incoming in IncomingBundle.objects.filter(state__in=steps).order_by("pk"):
        step = partial(steps[IncomingState(incoming.state)], actor=actor, bundle=incoming)
        done += drive(incoming, get_incoming_folder(incoming), step)
    remove_leftovers()
    return done


def drive(bundle: OutgoingBundle | IncomingBundle, folder: Path, step: Callable[[], object]) -> int:
    state = bundle.state
    with hold_folder(folder) as is_alone:
        if not is_alone:
            return 0
        try:
            bundle.refresh_from_db()
            if bundle.state != state:  # another worker took the step between the list and the lock
                return 0
            step()
        except Exception:
            log.exception("bundle in %s: tried again with the next round", folder.name)
            return 0
    return 1


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
