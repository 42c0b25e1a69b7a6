"""What the dispatcher does for recalls: every step again until nothing is left, then what devices report, to the end.

A step that fails does not keep the others from being done; it is tried again after a pause. One process goes on with a
recall at a time, by its lease; one that was killed is followed by another, which finds what is done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import PlaneError, StaleState
from apps.core.policy import require
from apps.fleet.devices.models import Assignment
from apps.fleet.devices.states import OPEN, AssignmentState, DeviceState
from apps.fleet.recalls.carriers import find_carriers
from apps.fleet.recalls.models import Recall, RecallDevice
from apps.fleet.recalls.notices import notify_ended
from apps.fleet.recalls.queries import count_running, list_item_ids
from apps.fleet.recalls.services.devices import return_devices
from apps.fleet.recalls.services.items import add_items, block_carrying_versions, get_newest_edge
from apps.fleet.recalls.services.leases import Lease, take_lease
from apps.fleet.recalls.services.steps import (
    abort_rollouts,
    revoke_recalled_releases,
    roll_aliases_back,
    settle_endpoints,
)
from apps.fleet.recalls.states import ONGOING, DeviceOutcome, ItemKind, RecallState
from apps.fleet.recalls.subjects import Subject
from apps.platform.audit.services import change_state
from deepseek.messages import Message

D = DeviceOutcome
WATCH_SECONDS = 5
RETRY_SECONDS = (2, 10, 60, 300)  # after the first failed round, the second, ...
REFRESH_BATCH = 1000
LOST = (AssignmentState.FAILED, AssignmentState.ROLLED_BACK, AssignmentState.CANCELLED, AssignmentState.SUPERSEDED)


def look_again(actor: Actor, recall: Recall, lease: Lease) -> bool:
    """Block what has come to carry the subject since, and add what uses it."""
    edge = get_newest_edge()
    with transaction.atomic():
        if edge != recall.newest_edge:
            subject = Subject(recall.subject_type, recall.subject_id, recall.subject_row, recall.subject_label)
            carriers = find_carriers(build_plane_actor(PlaneRole.WORKER), recall.project, subject)
            block_carrying_versions(actor, recall, carriers)
            Recall.objects.filter(pk=recall.pk).update(newest_edge=edge)
            recall.newest_edge = edge
        add_items(recall)
    return True


Step = Callable[[Actor, Recall, Lease], bool]
"""Does what it can and returns whether nothing is left of it. Raises PlaneError for what has to be tried again."""
STEPS: dict[str, Step] = {
    "carriers": look_again,
    "rollouts": lambda actor, recall, lease: abort_rollouts(actor, recall),
    "aliases": lambda actor, recall, lease: roll_aliases_back(actor, recall),
    "endpoints": lambda actor, recall, lease: settle_endpoints(actor, recall),
    "releases": lambda actor, recall, lease: revoke_recalled_releases(actor, recall),
    "devices": return_devices,
}


def advance_recalls(*, actor: Actor) -> int:
    """Take every recall further that is due; how many. One query where none is."""
    require(actor, "recall.advance")
    due = Recall.objects.filter(state__in=ONGOING, next_at__lte=Now()).select_related("project").order_by("next_at")
    return sum(advance_recall(actor=actor, recall=recall) for recall in due[:20])


def advance_recall(*, actor: Actor, recall: Recall) -> bool:
    """One round of a recall; False where another process has it, or it is not due."""
    require(actor, "recall.advance")
    lease = take_lease(recall)
    if lease is None:
        return False
    try:
        run_round(actor, recall, lease)
    except StaleState:  # another process has it now, or somebody has changed what a step was about: the next round
        return False
    return True


def run_round(actor: Actor, recall: Recall, lease: Lease) -> None:
    errors, is_done = run_steps(actor, recall, lease)
    refresh_outcomes(recall)
    with transaction.atomic():
        failures = recall.failures + 1 if errors else 0
        pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if errors else WATCH_SECONDS if is_done else 1
        lease.write(errors=errors, failures=failures, next_at=Now() + timedelta(seconds=pause))
        if is_done and not errors:
            settle_state(actor, recall)


def run_steps(actor: Actor, recall: Recall, lease: Lease) -> tuple[dict[str, Any], bool]:
    """({step: why it has to be tried again}, whether nothing is left of any)."""
    errors: dict[str, Any] = {}
    is_done = True
    for name, step in STEPS.items():
        lease.renew()
        try:
            is_done = step(actor, recall, lease) and is_done
        except PlaneError as error:
            errors[name] = Message(error.message).as_fields() if error.message else {}
    return errors, is_done


def settle_state(actor: Actor, recall: Recall) -> None:
    """Waiting for devices, or completed: no active device runs a recalled release or is to install one."""
    releases = list_item_ids(recall, ItemKind.RELEASE)
    is_running = count_running(recall.project, releases)[DeviceState.ACTIVE] > 0
    if is_running or Assignment.objects.filter(release__in=releases, state__in=OPEN).exists():
        if recall.state == RecallState.ACTING:
            change_state(recall, RecallState.WATCHING, actor=actor)
        return
    change_state(recall, RecallState.COMPLETED, actor=actor, completed_at=timezone.now())
    notify_ended(recall)


def refresh_outcomes(recall: Recall) -> None:
    """What became of the devices since, by their receipts and assignments; in batches."""
    releases = list_item_ids(recall, ItemKind.RELEASE)
    runs_it = Q(device__running__in=releases)
    installs_it = Q(device__in=Assignment.objects.filter(release__in=releases, state__in=OPEN).values("device"))
    rows = recall.devices.all()
    active, quarantined = Q(device__state=DeviceState.ACTIVE), Q(device__state=DeviceState.QUARANTINED)
    open_outcomes = (D.RETURNING, D.STOPPING, D.NO_PREVIOUS, D.QUARANTINED, D.FAILED)
    changes = (
        (rows.filter(~runs_it, ~installs_it, outcome__in=(*open_outcomes, D.REVOKED)), D.CLEAR),
        (rows.filter(runs_it, active, outcome=D.RETURNING, assignment__state__in=LOST), D.FAILED),
        (rows.filter(runs_it, active, outcome__in=(D.CLEAR, D.STOPPING, D.QUARANTINED, D.REVOKED)), D.PENDING),
        (rows.filter(runs_it, quarantined, outcome__in=(D.RETURNING, D.NO_PREVIOUS, D.FAILED)), D.QUARANTINED),
        (rows.filter(runs_it, device__state=DeviceState.REVOKED, outcome__in=open_outcomes), D.REVOKED),
    )
    for selection, outcome in changes:
        while keys := list(selection.order_by("pk").values_list("pk", flat=True)[:REFRESH_BATCH]):
            RecallDevice.objects.filter(pk__in=keys).update(outcome=outcome)
