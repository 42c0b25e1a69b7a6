"""What pages, REST, gateways and rollouts read of devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import MAX_INT64, parse_int, validate_choice
from apps.fleet.devices.filters import filter_devices
from apps.fleet.devices.models import (
    Assignment,
    AssignmentQuerySet,
    Device,
    DeviceCount,
    DeviceGroup,
    DeviceGroupQuerySet,
    DeviceQuerySet,
    EnrolmentToken,
    EnrolmentTokenQuerySet,
)
from apps.fleet.devices.states import OFFERED, Architecture, AssignmentState, DeviceKind, DeviceState, Health
from apps.fleet.releases.models import ReleaseFile
from apps.ml.registry.models import VersionBlock
from apps.platform.accounts.models import Project
from deepseek.messages import N_

PLAIN_FILTERS = ("name", "state", "kind", "architecture", "health", "group")
FILTERS = (*PLAIN_FILTERS, "seen", "running", "mismatch", "query")
SEEN = ("online", "offline", "never")
MISSED_POLLS = 3  # after which a device counts as offline


def list_devices(actor: Actor, project: Project, filters: Mapping[str, str] | None = None) -> DeviceQuerySet:
    """The devices of the project that fit, with their telemetry. Raises Invalid for a filter that says nothing.

    `seen`: online, offline or never; `running`: id of a release; `mismatch`: true; `group`: the name of a saved query;
    `query`: one that is not saved.
    """
    policy.require(actor, "device.view", project)
    values = {name: (filters or {}).get(name, "") for name in FILTERS}
    for name, choices in (
        ("state", DeviceState.values),
        ("kind", DeviceKind.values),
        ("architecture", Architecture.values),
        ("health", Health.values),
        ("seen", SEEN),
        ("mismatch", ("true",)),
    ):
        validate_choice(name, values[name], choices)
    rows = Device.objects.visible_to(actor).filter(project=project)
    rows = rows.select_related("telemetry", "running__variant__version")
    narrow = {
        "name__icontains": values["name"],
        "state": values["state"],
        "kind": values["kind"],
        "architecture": values["architecture"],
        "telemetry__health": values["health"],
        # Its index is walked by the project, which the database does not conclude from that of the device.
        "telemetry__project": project if values["health"] or values["seen"] else None,
    }
    rows = rows.filter(**{lookup: value for lookup, value in narrow.items() if value})
    if values["running"]:
        rows = rows.filter(running=parse_release(values["running"]))
    if values["mismatch"]:
        rows = rows.exclude(mismatch="")
    if values["seen"]:
        rows = rows.filter(build_seen_filter(values["seen"]))
    if values["group"]:
        rows = filter_devices(rows, project.pk, get_group(actor, project, values["group"]).query, field="group")
    return filter_devices(rows, project.pk, values["query"])


def parse_release(text: str) -> int:
    number = parse_int(text, 1, MAX_INT64)
    if number is None:
        raise Invalid("{text!r} is no release.", text=text[:40], field="running", limit="its id, a number")
    return number


def build_seen_filter(seen: str) -> Q:
    since = timezone.now() - get_offline_after()
    if seen == "never":
        return Q(telemetry__last_seen=None)
    return Q(telemetry__last_seen__gte=since) if seen == "online" else Q(telemetry__last_seen__lt=since)


def get_offline_after() -> timedelta:
    """Silence after which a device counts as offline."""
    return timedelta(seconds=MISSED_POLLS * get_poll_seconds())


def get_poll_seconds() -> int:
    """How long a device waits between two polls."""
    return int(settings.ENV.device_poll_seconds)


def get_device(actor: Actor, project: Project, pk: int) -> Device:
    policy.require(actor, "device.view", project)
    rows = Device.objects.visible_to(actor).filter(project=project, pk=pk) if pk <= MAX_INT64 else Device.objects.none()
    related = ("project", "telemetry", "enrolment_token", "running__variant__version")
    device = rows.select_related(*related).prefetch_related("labels").first()
    if device is None:
        raise NotFound("This project has no device {number}.", number=pk, field="device", hint=N_("List the devices."))
    return device


def find_device(project: Project, name: str) -> Device | None:
    """The device of this name that is not revoked, for a gateway that knows it by name."""
    rows = Device.objects.exclude(state=DeviceState.REVOKED).select_related("project")
    return rows.filter(project=project, name=name).first()


def count_by_state(project: Project) -> dict[str, int]:
    """{state: how many devices}; read from a few rows of counts, however many devices there are."""
    counts: Counter[str] = Counter(dict.fromkeys(DeviceState.values, 0))
    for state, devices in DeviceCount.objects.filter(project=project).values_list("state", "devices"):
        counts[state] += devices
    return dict(counts)


def count_by_release(project: Project) -> dict[str, int]:
    """{id of a release: how many active devices run it}; "0": devices that no receipt has come from."""
    rows = DeviceCount.objects.filter(project=project, state=DeviceState.ACTIVE, devices__gt=0).order_by("release_id")
    return {str(release): devices for release, devices in rows.values_list("release_id", "devices")}


# -- assignments ----------------------------------------------------------------------------------------------------
def list_assignments(
    actor: Actor, project: Project, *, state: str = "", device: int | None = None, release: int | None = None
) -> AssignmentQuerySet:
    """The assignments of the project that fit. Raises Invalid for a state that there is none of."""
    policy.require(actor, "device.view", project)
    validate_choice("state", state, AssignmentState.values)
    narrow = {"state": state or None, "device": device, "release": release}
    rows = Assignment.objects.visible_to(actor).filter(project=project)
    rows = rows.filter(**{field: value for field, value in narrow.items() if value is not None})
    return rows.select_related("device", "release__variant__version__model")


def get_assignment(actor: Actor, project: Project, pk: int) -> Assignment:
    assignment = list_assignments(actor, project).filter(pk=pk).first() if pk <= MAX_INT64 else None
    if assignment is None:
        raise NotFound(
            "This project has no assignment {number}.", number=pk, field="assignment", hint=N_("List the assignments.")
        )
    return assignment


def get_offered_assignment(device: Device) -> Assignment | None:
    """What the device is to install or to stop now."""
    return device.assignments.filter(state__in=OFFERED).select_related("release").first()


def get_own_assignment(device: Device, number: str) -> Assignment:
    """An assignment that the device was told of. Raises NotFound."""
    pk = parse_int(number, 1)
    rows = device.assignments.exclude(state=AssignmentState.WAITING)
    assignment = rows.filter(pk=pk).select_related("release").first() if pk else None
    if assignment is None:
        raise NotFound("This device has no such assignment.", field="assignment", hint=N_("Poll."))
    return assignment


def get_installed_assignment(device: Device) -> Assignment | None:
    """The last assignment of the device that has succeeded."""
    rows = device.assignments.filter(state=AssignmentState.SUCCEEDED).select_related("release")
    return rows.order_by("-ended_at", "-pk").first()


def find_release_file(device: Device, digest: str) -> ReleaseFile | None:
    """A file of the release that the device is to install, or that it runs; of no other,
    and of none whose version is blocked."""
    if device.state != DeviceState.ACTIVE:
        return None
    offered = device.assignments.filter(state__in=OFFERED).values("release")
    is_theirs = Q(release__in=offered) | Q(release=device.running_id)
    rows = ReleaseFile.objects.filter(is_theirs, artifact=digest).select_related("artifact")
    blocked = VersionBlock.objects.filter(version=OuterRef("release__variant__version"), lifted_at=None)
    return rows.filter(~Exists(blocked)).first()


# -- groups, tokens -------------------------------------------------------------------------------------------------
def list_groups(actor: Actor, project: Project) -> DeviceGroupQuerySet:
    policy.require(actor, "device.view", project)
    return DeviceGroup.objects.visible_to(actor).filter(project=project)


def get_group(actor: Actor, project: Project, name: str) -> DeviceGroup:
    group = list_groups(actor, project).filter(name=name).first()
    if group is None:
        raise NotFound(
            "This project has no group {name!r}.", name=name[:60], field="group", hint=N_("List the groups.")
        )
    return group


def list_group_devices(actor: Actor, group: DeviceGroup) -> DeviceQuerySet:
    """The devices that fit a group's query now, as a query set that others can narrow or select from."""
    policy.require(actor, "device.view", group)
    rows = Device.objects.visible_to(actor).filter(project_id=group.project_id)
    return filter_devices(rows, group.project_id, group.query, field="group")


def list_enrolment_tokens(actor: Actor, project: Project) -> EnrolmentTokenQuerySet:
    policy.require(actor, "device.view", project)
    return EnrolmentToken.objects.visible_to(actor).filter(project=project)


def get_enrolment_token(actor: Actor, project: Project, pk: int) -> EnrolmentToken:
    token = list_enrolment_tokens(actor, project).filter(pk=pk).first() if pk <= MAX_INT64 else None
    if token is None:
        raise NotFound("This project has no enrolment token {number}.", number=pk, field="token")
    return token
