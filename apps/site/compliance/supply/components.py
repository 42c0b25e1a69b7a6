"""Components of the plane's own process: installed distributions, and which of them it does not need."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

PLANE = "deepseek-offline"
TOOLS = frozenset({"pip", "setuptools", "wheel"})  # of every Python environment


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """`record_sha256`: of the installed files' own list (RECORD), which holds the digest of each of them."""

    name: str
    version: str
    license: str = ""
    record_sha256: str = ""
    requires: tuple[str, ...] = field(default=(), compare=False)

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


@lru_cache(maxsize=1)
def list_installed_components() -> tuple[Component, ...]:
    """Every distribution of this environment, in the order of names; the first of those with one name counts."""
    components: dict[str, Component] = {}
    for each in distributions():
        name = canonicalize_name(each.name or "")
        if name and name not in components:
            components[name] = build_component(name, each)
    return tuple(sorted(components.values()))


def build_component(name: str, each: Distribution) -> Component:
    record = each.read_text("RECORD") or ""
    return Component(
        name=name,
        version=each.version or "",
        license=(each.metadata.get("License-Expression") or each.metadata.get("License") or "").split("\n")[0][:100],
        record_sha256=hashlib.sha256(record.encode()).hexdigest() if record else "",
        requires=tuple(sorted({canonicalize_name(each.name) for each in iter_requirements(each, frozenset())})),
    )


def iter_requirements(each: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    """The requirements of a distribution that count here, with these extras. Unreadable ones are left out."""
    environment = {str(key): str(value) for key, value in default_environment().items()}
    for text in each.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)):
            yield requirement


@lru_cache(maxsize=1)
def list_unneeded_components() -> tuple[str, ...]:
    """Installed distributions that no requirement of the plane, its extras included, leads to; sorted.

    Empty where the plane itself is not installed as a distribution: then nothing says what it needs.
    """
    installed = {component.name for component in list_installed_components()}
    if PLANE not in installed:
        return ()
    own = distribution(PLANE)
    extras = frozenset(own.metadata.get_all("Provides-Extra") or ()) - {"dev", "test", "tests"}
    needed, queue = {PLANE}, [(PLANE, extras)]
    visited: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, selected = queue.pop()
        if (name, selected) in visited:
            continue
        visited.add((name, selected))
        try:
            requirements = list(iter_requirements(distribution(name), selected))
        except PackageNotFoundError:
            continue
        for requirement in requirements:
            target = canonicalize_name(requirement.name)
            needed.add(target)
            queue.append((target, frozenset(requirement.extras)))
    return tuple(sorted(installed - needed - TOOLS))
