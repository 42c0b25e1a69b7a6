"""The step of a recall that sends devices back to the release before, in batches: no query for each device.

An agent refuses a release that is not above what it had. To go back it gets a new release of the variant that it ran
before, issued once for all devices that go back to it, by the approval of the earlier one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.services import assign_releases, cancel_assignments, lock_devices, quarantine_devices
from apps.fleet.devices.services.bulk import lock_open_assignments
from apps.fleet.devices.states import OPEN, AssignmentState, DeviceKind, DeviceState
from apps.fleet.recalls.models import Recall, RecallDevice
from apps.fleet.recalls.queries import list_item_ids
from apps.fleet.recalls.services.items import describe_reason
from apps.fleet.recalls.services.leases import Lease
from apps.fleet.recalls.states import DeviceOutcome, ItemKind
from apps.fleet.releases.models import Release
from apps.fleet.releases.services import issue_release
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.ml.registry.blocks import find_blocked

BATCH = 500  # devices of one transaction
UNSETTLED_STATES = (AssignmentState.FAILED, AssignmentState.ROLLED_BACK, AssignmentState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the batches of one round share."""

    recall: Recall
    releases: frozenset[int]  # recalled ones
    ways_back: dict[int, Release | PlaneError]  # {variant: the new release of it, or why there is none}


def return_devices(actor: Actor, recall: Recall, lease: Lease) -> bool:
    """Send back every active device that runs a recalled release, take such releases back that devices were to
    install, and keep what became of each. Raises what kept a release from being issued, once all others are done."""
    fleet = Fleet(recall, frozenset(list_item_ids(recall, ItemKind.RELEASE)), {})
    for keys in iter_carrying(fleet):
        lease.renew()
        process_batch(actor, fleet, keys)
    errors = [way for way in fleet.ways_back.values() if isinstance(way, PlaneError)]
    if errors:
        raise errors[0]
    return True


def iter_carrying(fleet: Fleet) -> Iterator[list[int]]:
    """Keys of devices to be dealt with, a batch at a time, of each release in the order of an index."""
    settled = RecallDevice.objects.filter(recall=fleet.recall).exclude(outcome=DeviceOutcome.PENDING)
    for release in sorted(fleet.releases):
        for rows, name in (
            (Device.objects.filter(project=fleet.recall.project_id, running=release), "pk"),
            (Assignment.objects.filter(release=release, state__in=OPEN), "device_id"),
        ):
            last = 0
            while keys := list_batch(rows.filter(**{f"{name}__gt": last}), name):
                last = keys[-1]
                done = set(settled.filter(device__in=keys).values_list("device_id", flat=True))
                if left := [key for key in keys if key not in done]:
                    yield left


def list_batch(rows: object, name: str) -> list[int]:
    return list(rows.order_by(name).values_list(name, flat=True)[:BATCH])  # type: ignore[attr-defined]


def process_batch(actor: Actor, fleet: Fleet, keys: Sequence[int]) -> None:
    """One transaction, once the releases that it assigns are issued."""
    previous = find_previous_releases(fleet, keys)
    ways_back = find_ways_back(actor, fleet, previous)
    with transaction.atomic():
        devices = lock_devices(fleet.recall.project, keys)
        done = RecallDevice.objects.filter(recall=fleet.recall, device__in=keys).exclude(outcome=DeviceOutcome.PENDING)
        for key in done.values_list("device_id", flat=True):
            devices.pop(key, None)
        store_rows(fleet, devices, settle_batch(actor, fleet, devices, previous, ways_back))


Row = tuple[DeviceOutcome, Release | None, Assignment | None]
"""What becomes of a device: (outcome, the release that it goes back to, by which assignment)"""


def settle_batch(
    actor: Actor,
    fleet: Fleet,
    devices: dict[int, Device],
    previous: dict[int, Release],
    ways_back: dict[int, Release],
) -> dict[int, Row]:
    """What becomes of each locked device; one whose release to go back to could not be issued is left out."""
    open_rows = lock_open_assignments(list(devices))
    rows: dict[int, Row] = {}
    back: list[Device] = []
    stop: list[Device] = []
    stranded: list[Device] = []
    for key, device in devices.items():
        runs_it = device.running_id in fleet.releases
        newest = open_rows[key][-1] if open_rows.get(key) else None
        installs_it = newest is not None and newest.release_id in fleet.releases
        if device.state == DeviceState.REVOKED:
            rows[key] = DeviceOutcome.REVOKED, None, None
        elif device.state == DeviceState.QUARANTINED:
            rows[key] = DeviceOutcome.QUARANTINED if runs_it else DeviceOutcome.CLEAR, None, None
        elif newest is not None and not installs_it and newest.state != AssignmentState.CANCELLING:
            rows[key] = DeviceOutcome.RETURNING, None, newest  # on its way to another release already
        elif not runs_it:
            if installs_it:
                stop.append(device)
        elif key in ways_back:
            back.append(device)
        elif key not in previous:
            stranded.append(device)
    reason = describe_reason(fleet.recall)
    project = fleet.recall.project
    targets = {device.pk: ways_back[device.pk] for device in back}
    new = assign_releases(actor=actor, project=project, devices=back, releases=targets, reason=reason)
    rows |= {key: (DeviceOutcome.RETURNING, targets[key], assignment) for key, assignment in new.items()}
    if stop or stranded:
        cancel_assignments(actor=actor, project=project, devices=[*stop, *stranded], reason=reason)
    for device in stop:
        rows[device.pk] = DeviceOutcome.STOPPING, None, open_rows[device.pk][-1]
    if fleet.recall.quarantines:
        quarantine_devices(actor=actor, project=project, devices=stranded, reason=reason)
    outcome = DeviceOutcome.QUARANTINED if fleet.recall.quarantines else DeviceOutcome.NO_PREVIOUS
    return rows | {device.pk: (outcome, None, None) for device in stranded}


def store_rows(fleet: Fleet, devices: dict[int, Device], rows: dict[int, Row]) -> None:
    """Keep the outcomes; two statements."""
    RecallDevice.objects.bulk_create(
        (
            RecallDevice(
                recall=fleet.recall,
                device_id=key,
                outcome=outcome,
                from_release_id=devices[key].running_id,
                to_release=release,
                assignment=assignment,
            )
            for key, (outcome, release, assignment) in rows.items()
        ),
        update_conflicts=True,
        unique_fields=["recall", "device"],
        update_fields=["outcome", "from_release", "to_release", "assignment"],
    )


# -- where they go back to ------------------------------------------------------------------------------------------
def find_previous_releases(fleet: Fleet, keys: Collection[int]) -> dict[int, Release]:
    """{device: the last release of the same model that it ran and that is neither recalled, revoked nor blocked}.

    By the assignments that have succeeded: what was carried in as a folder is not known.
    """
    models = dict(Release.objects.filter(pk__in=fleet.releases).values_list("pk", "model_id"))
    devices = {
        pk: (models.get(running or 0), kind)
        for pk, running, kind in Device.objects.filter(pk__in=keys).values_list("pk", "running_id", "kind")
    }
    had = Assignment.objects.filter(device__in=keys, state=AssignmentState.SUCCEEDED)
    had = had.exclude(release__in=fleet.releases).filter(release__state=ReleaseState.ISSUED)
    latest: dict[int, tuple[object, int, int]] = {}
    facts = ("device_id", "ended_at", "pk", "release_id", "release__model_id", "release__key__state")
    for device, ended_at, pk, release, model, key_state in had.values_list(*facts):
        wanted, kind = devices[device]
        if model != wanted or (kind == DeviceKind.HAWKBIT and key_state == KeyState.REVOKED):
            continue
        latest[device] = max(latest.get(device, (ended_at, 0, 0)), (ended_at, pk, release))
    rows = Release.objects.filter(pk__in={release for _at, _pk, release in latest.values()})
    releases = {row.pk: row for row in rows.select_related("variant__version__model__project", "approval")}
    blocked = find_blocked({row.variant.version_id for row in releases.values()})
    return {
        device: releases[release]
        for device, (_at, _pk, release) in latest.items()
        if releases[release].variant.version_id not in blocked
    }


def find_ways_back(actor: Actor, fleet: Fleet, previous: dict[int, Release]) -> dict[int, Release]:
    """{device: the release to assign}: to stock clients, which take any, the very one that they had."""
    kinds = dict(Device.objects.filter(pk__in=list(previous)).values_list("pk", "kind"))
    ways: dict[int, Release] = {}
    for device, release in previous.items():
        if kinds[device] == DeviceKind.HAWKBIT:
            ways[device] = release
            continue
        way = fleet.ways_back.get(release.variant_id)
        if way is None:
            way = fleet.ways_back[release.variant_id] = find_or_issue(actor, fleet.recall, release)
        if isinstance(way, Release):
            ways[device] = way
    return ways


def find_or_issue(actor: Actor, recall: Recall, previous: Release) -> Release | PlaneError:
    """A release of the same variant that was issued since the recall began, so that it is above what devices had."""
    rows = Release.objects.filter(project=recall.project_id, variant=previous.variant_id, state=ReleaseState.ISSUED)
    rows = rows.filter(~Q(key__state=KeyState.REVOKED), pk__gt=recall.newest_release)
    if (present := rows.order_by("-pk").first()) is not None:
        return present
    try:
        # Its samples come along where there are any: going back must not wait for a job that makes them.
        variant = previous.variant
        return issue_release(actor=actor, variant=variant, approval=previous.approval, without_samples=True)
    except PlaneError as error:
        return error
