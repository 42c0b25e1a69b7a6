"""Whether everything that a package needs is there: a resolver over the files of a folder and of the index.

It asks no other index and builds nothing: only wheels count, and a yanked version is no candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver

from apps.site.mirror.environments import TargetEnvironment
from apps.site.mirror.wheels import FindWheels, Wheel
from deepseek.messages import Message

MAX_ROUNDS = 20_000
MAX_CAUSES = 5  # of a conflict, in its message

Identity = tuple[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version with the extras it is installed with; of equal versions the first wheel that fits."""

    wheel: Wheel
    extras: frozenset[str]

    @property
    def identity(self) -> Identity:
        return self.wheel.name, self.extras


class WheelProvider(AbstractProvider[Requirement, Candidate, Identity]):
    """Answers the resolver for one environment."""

    def __init__(self, environment: TargetEnvironment, find_wheels: FindWheels) -> None:
        self.environment = environment
        self.find_wheels = find_wheels
        self.usable: dict[str, list[Wheel]] = {}

    def identify(self, requirement_or_candidate: Requirement | Candidate) -> Identity:
        if isinstance(requirement_or_candidate, Candidate):
            return requirement_or_candidate.identity
        requirement = requirement_or_candidate
        return canonicalize_name(requirement.name), frozenset(map(canonicalize_name, requirement.extras))

    def get_preference(
        self,
        identifier: Identity,
        resolutions: Mapping[Identity, Candidate],
        candidates: Mapping[Identity, Iterator[Candidate]],
        information: Mapping[Identity, Iterator[Any]],
        backtrack_causes: Sequence[Any],
    ) -> Any:
        """Names with few versions first: they are decided by nobody else."""
        return len(self.list_usable(identifier[0])), identifier[0], sorted(identifier[1])

    def find_matches(
        self,
        identifier: Identity,
        requirements: Mapping[Identity, Iterator[Requirement]],
        incompatibilities: Mapping[Identity, Iterator[Candidate]],
    ) -> list[Candidate]:
        name, extras = identifier
        wanted = list(requirements[identifier])
        excluded = {candidate.wheel.version for candidate in incompatibilities[identifier]}
        return [
            Candidate(wheel, extras)
            for wheel in self.list_usable(name)
            if wheel.version not in excluded and all(fits(requirement, wheel) for requirement in wanted)
        ]

    def is_satisfied_by(self, requirement: Requirement, candidate: Candidate) -> bool:
        return fits(requirement, candidate.wheel)

    def get_dependencies(self, candidate: Candidate) -> list[Requirement]:
        wheel, extras = candidate.wheel, candidate.extras
        needed = [requirement for requirement in wheel.requirements if self.environment.needs(requirement, extras)]
        if extras:
            needed.append(Requirement(f"{wheel.name}=={wheel.version}"))
        return needed

    def list_usable(self, name: str) -> list[Wheel]:
        """The newest first, one of each version."""
        if name not in self.usable:
            fitting = {
                wheel.version: wheel
                for wheel in reversed(self.find_wheels(name))
                if not wheel.is_yanked
                and self.environment.accepts_tags(wheel.tags)
                and self.environment.accepts_python(wheel.requires_python)
            }
            self.usable[name] = sorted(fitting.values(), key=lambda wheel: wheel.version, reverse=True)
        return self.usable[name]


def fits(requirement: Requirement, wheel: Wheel) -> bool:
    """Whether a wheel of the required name satisfies it; a direct address never is, it would be fetched elsewhere."""
    return requirement.url is None and requirement.specifier.contains(wheel.version, prereleases=True)


def find_missing(wheels: Iterable[Wheel], environment: TargetEnvironment, find_wheels: FindWheels) -> list[Message]:
    """What keeps each of these from being installed here; empty where nothing does."""
    faults: list[Message] = []
    provider = WheelProvider(environment, find_wheels)
    for wheel in wheels:
        resolver: Resolver[Requirement, Candidate, Identity] = Resolver(provider, BaseReporter())
        try:
            resolver.resolve([Requirement(f"{wheel.name}=={wheel.version}")], max_rounds=MAX_ROUNDS)
        except ResolutionImpossible as failure:
            faults.append(describe_conflict(wheel, environment, failure.causes, find_wheels))
        except ResolutionTooDeep:
            faults.append(
                Message(
                    "{name} {version} could not be resolved in {rounds} rounds",
                    name=wheel.name,
                    version=str(wheel.version),
                    rounds=MAX_ROUNDS,
                )
            )
    return faults


def describe_conflict(
    wheel: Wheel, environment: TargetEnvironment, causes: Iterable[Any], find_wheels: FindWheels
) -> Message:
    """Who needs what that is not there, or whose needs contradict each other."""
    parts = []
    for cause in list(causes)[:MAX_CAUSES]:
        parent = cause.parent.wheel if cause.parent is not None else None
        source = f"{parent.name} {parent.version}" if parent else wheel.name
        parts.append(f"{source} needs {strip_marker(cause.requirement)}")
    names = {canonicalize_name(cause.requirement.name) for cause in causes}
    yanked = sorted(
        f"{each.name} {each.version}"
        for name in names
        for each in find_wheels(name)
        if each.is_yanked and any(fits(cause.requirement, each) for cause in causes if same_name(cause, name))
    )
    if yanked:
        return Message(
            "{name} {version} for {environment}: {needs}; {yanked} is yanked",
            name=wheel.name,
            version=str(wheel.version),
            environment=environment.label,
            needs=", ".join(dict.fromkeys(parts)),
            yanked=", ".join(yanked),
        )
    return Message(
        "{name} {version} for {environment}: {needs}",
        name=wheel.name,
        version=str(wheel.version),
        environment=environment.label,
        needs=", ".join(dict.fromkeys(parts)),
    )


def same_name(cause: Any, name: str) -> bool:
    return canonicalize_name(cause.requirement.name) == name


def strip_marker(requirement: Requirement) -> str:
    """The requirement without its marker, which is true here."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return (
        f"{requirement.name}{extras}{requirement.specifier or ''}{' @ ' + requirement.url if requirement.url else ''}"
    )
