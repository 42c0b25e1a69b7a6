"""The devices that a rollout can be given to, as candidates with their strata, in a few statements however many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Q

from apps.fleet.devices.filters import filter_devices
from apps.fleet.devices.models import Device, DeviceGroup, DeviceLabel, DeviceQuerySet
from apps.fleet.devices.states import DeviceState
from apps.fleet.releases.models import Release
from apps.fleet.rollouts.models import STRATUM_LENGTH, Rollout, RolloutDevice
from apps.fleet.rollouts.planner import Candidate
from apps.fleet.rollouts.schemas import RolloutPlan

NO_VARIANT, IN_ROLLOUT, ALREADY_RUNNING, INACTIVE = "no_variant", "in_rollout", "already_running", "inactive"
"""Why a device of the selection is left out."""
SEPARATOR = " / "  # between the parts of a stratum's name


@dataclass(frozen=True, slots=True)
class Selection:
    candidates: list[Candidate]
    excluded: dict[str, int]  # {reason: devices}


def query_selected_devices(rollout: Rollout) -> DeviceQuerySet:
    """Every device of the project that the rollout's query fits now."""
    return filter_devices(Device.objects.filter(project=rollout.project_id), rollout.project_id, rollout.query)


def select_candidates(rollout: Rollout, plan: RolloutPlan, *, is_new: bool = False) -> Selection:
    """The devices that can be given the version. `is_new`: only those that are not in the rollout yet."""
    rows = query_selected_devices(rollout).exclude(state=DeviceState.REVOKED)
    if is_new:
        rows = rows.exclude(pk__in=RolloutDevice.objects.filter(rollout=rollout).values("device_id"))
    variants = {row.architecture: row.variant_id for row in rollout.variants.all()}
    devices = list(rows.order_by("pk").values_list("pk", "state", "architecture", "running_id"))
    releases = list_releases({release for *_, release in devices if release})
    busy = list_busy_devices(rollout) if devices else set()
    labels = read_labels(rollout, plan.stratify_by) if devices else {}
    excluded: Counter[str] = Counter()
    candidates = []
    names: dict[tuple[str, ...], str] = {}  # of strata: few, for many devices
    for device, state, architecture, running in devices:
        variant, before = releases.get(running or 0, (0, "none"))
        if state != DeviceState.ACTIVE:
            excluded[INACTIVE] += 1
        elif architecture not in variants:
            excluded[NO_VARIANT] += 1
        elif device in busy:
            excluded[IN_ROLLOUT] += 1
        elif variant == variants[architecture]:
            excluded[ALREADY_RUNNING] += 1
        else:
            own = labels.get(device, {})
            parts = (architecture, before, *[own.get(path, "-") for path in plan.stratify_by])
            if parts not in names:
                names[parts] = SEPARATOR.join(parts)[:STRATUM_LENGTH]
            candidates.append(Candidate(device, names[parts], architecture, running))
    return Selection(candidates, dict(sorted(excluded.items())))


def list_releases(keys: set[int]) -> dict[int, tuple[int, str]]:
    """{release: (variant, "model v3")}."""
    rows = Release.objects.filter(pk__in=keys).values_list("pk", "variant_id", "model_name", "variant__version__number")
    return {pk: (variant, f"{model} v{number}") for pk, variant, model, number in rows}


def list_busy_devices(rollout: Rollout) -> set[int]:
    """Devices that another active rollout holds."""
    rows = RolloutDevice.objects.filter(is_active=True, rollout__project=rollout.project_id)
    return set(rows.exclude(rollout=rollout).values_list("device_id", flat=True))


def read_labels(rollout: Rollout, paths: Sequence[str]) -> Mapping[int, Mapping[str, str]]:
    """{device: {path: value}} of the labels that strata are made by, where it has them."""
    if not paths:
        return {}
    condition = Q()
    for path in paths:
        kind, _, key = path.partition(".")
        condition |= Q(kind=kind, key=key)
    labels: defaultdict[int, dict[str, str]] = defaultdict(dict)
    rows = DeviceLabel.objects.filter(condition, project=rollout.project_id)
    for device, kind, key, value in rows.values_list("device_id", "kind", "key", "value").iterator(chunk_size=10_000):
        labels[device][f"{kind}.{key}"] = value
    return labels


def list_group_members(rollout: Rollout, plan: RolloutPlan) -> dict[str, set[int]]:
    """{group: its devices now} of the groups that waves name; a group that is gone has none."""
    members: dict[str, set[int]] = {}
    for name in {wave.group for wave in plan.waves if wave.group is not None}:
        group = DeviceGroup.objects.filter(project=rollout.project_id, name=name).first()
        rows = Device.objects.filter(project=rollout.project_id)
        members[name] = (
            set(filter_devices(rows, rollout.project_id, group.query).values_list("pk", flat=True)) if group else set()
        )
    return members
