"""Which device is in which wave: the same for the same rollout and devices, and the same share of every stratum. Pure.

The devices of a stratum stand in an order that follows from the rollout's id, spread evenly from 0 to 1; all together
by that place they are cut into waves. So each wave, and what is left to compare it with, has of each stratum what the
fleet has, to one device.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from apps.fleet.rollouts.schemas import WaveSize

EMPTY_PREVIEW: Mapping[str, Any] = {
    "devices": 0,
    "uncovered": 0,
    "excluded": {},
    "waves": [],
    "strata": [],
    "strata_total": 0,
    "architectures": {},
    "previous": {},
}
MAX_STRATA_LISTED = 50  # of a preview; it counts them all


class Candidate(NamedTuple):
    """A device that can be given the version."""

    device: int
    stratum: str
    architecture: str
    previous: int | None  # key of the release that it runs


class Place(NamedTuple):
    """Where a candidate stands: `wave` is None for one that no wave takes."""

    candidate: Candidate
    rank: int
    wave: int | None


@dataclass(frozen=True, slots=True)
class WavePlan:
    devices: int
    controls: int  # of later waves and of none, in strata that the wave has


@dataclass(frozen=True, slots=True)
class FleetPlan:
    places: list[Place]  # by rank
    waves: list[WavePlan]
    digest: str


def plan_waves(
    candidates: Sequence[Candidate],
    waves: Sequence[WaveSize],
    *,
    seed: int,
    groups: Mapping[str, Collection[int]] | None = None,
) -> FleetPlan:
    """Put the devices into waves. `groups`: the keys of the devices of each group that a wave names."""
    ordered = order_devices(candidates, seed)
    wave_of: dict[int, int] = {}
    for number, size in enumerate(waves):
        for device in choose_devices(ordered, size, wave_of, groups or {}):
            wave_of[device] = number
    places = [Place(each, rank, wave_of.get(each.device)) for rank, each in enumerate(ordered)]
    return FleetPlan(places, count_waves(places, len(waves)), compute_digest(places))


def order_devices(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """The order in which devices are given the version."""
    keys = [draw(f"{seed}:{each.device}") for each in candidates]
    order = sorted(range(len(candidates)), key=keys.__getitem__)
    sizes = Counter(each.stratum for each in candidates)
    # of small strata each begins elsewhere
    offsets = {stratum: int.from_bytes(draw(f"{seed}:{stratum}")) / 2**64 for stratum in sizes}
    ranks: defaultdict[str, int] = defaultdict(int)
    positions = [0.0] * len(order)
    for index in order:
        stratum = candidates[index].stratum
        positions[index] = (ranks[stratum] + offsets[stratum]) / sizes[stratum]
        ranks[stratum] += 1
    order.sort(key=positions.__getitem__)  # stable: of two at one position the lower key is first
    return [candidates[index] for index in order]


def draw(text: str) -> bytes:
    """Eight bytes that follow from the text, as good as random."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def choose_devices(
    ordered: Sequence[Candidate],
    size: WaveSize,
    wave_of: Mapping[int, int],
    groups: Mapping[str, Collection[int]],
) -> list[int]:
    """The devices that the next wave takes, of those that no wave has."""
    left = [each.device for each in ordered if each.device not in wave_of]
    if size.group is not None:
        members = groups.get(size.group, ())
        return [device for device in left if device in members]
    if size.count is not None:
        return left[: size.count]
    target = round((size.share or 0) * len(ordered))
    return left[: max(0, target - len(wave_of))]


def count_waves(places: Sequence[Place], waves: int) -> list[WavePlan]:
    by_stratum: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for place in places:
        by_stratum[place.candidate.stratum][waves if place.wave is None else place.wave] += 1
    plans = []
    for number in range(waves):
        beside = [counts for counts in by_stratum.values() if counts[number]]
        controls = sum(count for counts in beside for wave, count in counts.items() if wave > number)
        plans.append(WavePlan(sum(counts[number] for counts in beside), controls))
    return plans


def compute_digest(places: Sequence[Place]) -> str:
    """SHA-256 of which device is in which wave: lines of `device wave`, by device."""
    lines = sorted((place.candidate.device, -1 if place.wave is None else place.wave) for place in places)
    return hashlib.sha256("".join(f"{device} {wave}\n" for device, wave in lines).encode()).hexdigest()


def summarize(plan: FleetPlan, sizes: Sequence[WaveSize], excluded: Mapping[str, int]) -> dict[str, Any]:
    """The blast radius as JSON: devices by wave, stratum, architecture and previous release; and who is left out.

    {"devices", "excluded": {reason: devices}, "waves": [{"position", "size", "devices", "controls"}],
    "strata": [{"stratum", "devices", "waves": [devices]}], "strata_total", "architectures": {name: devices},
    "previous": {id of a release or "": devices}, "uncovered": devices that no wave takes}
    """
    strata: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(sizes) + 1))
    for place in plan.places:
        strata[place.candidate.stratum][-1 if place.wave is None else place.wave] += 1
    largest = sorted(strata.items(), key=lambda item: (-sum(item[1]), item[0]))
    return {
        "devices": len(plan.places),
        "uncovered": sum(place.wave is None for place in plan.places),
        "excluded": dict(excluded),
        "waves": [
            {
                "position": number,
                "size": size.model_dump(exclude_none=True),
                "devices": wave.devices,
                "controls": wave.controls,
            }
            for number, (size, wave) in enumerate(zip(sizes, plan.waves, strict=True))
        ],
        "strata": [
            {"stratum": name, "devices": sum(counts), "waves": counts[:-1]}
            for name, counts in largest[:MAX_STRATA_LISTED]
        ],
        "strata_total": len(strata),
        "architectures": dict(sorted(Counter(place.candidate.architecture for place in plan.places).items())),
        "previous": {
            str(release or ""): count
            for release, count in sorted(
                Counter(place.candidate.previous for place in plan.places).items(), key=lambda item: item[0] or 0
            )
        },
    }
