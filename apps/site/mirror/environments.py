"""The machines that packages are installed on: which wheels fit them, and what markers say there."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags

from apps.core.errors import Invalid
from deepseek.messages import N_

PYTHON = re.compile(r"3\.(\d{1,2})")
PLATFORM = re.compile(r"manylinux_2_(\d{1,2})_(x86_64|aarch64)")
OLDEST_GLIBC = 5  # the minor of 2.5, of manylinux1
LEGACY = {"x86_64": {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}, "aarch64": {17: "manylinux2014"}}


@dataclass(frozen=True, slots=True)
class TargetEnvironment:
    """A Python of a platform."""

    label: str
    python: str  # 3.11.9
    tags: frozenset[Tag]
    markers: dict[str, str]

    def accepts_tags(self, tags: Iterable[Tag]) -> bool:
        return not self.tags.isdisjoint(tags)

    def accepts_python(self, requires_python: str) -> bool:
        return not requires_python or SpecifierSet(requires_python).contains(self.python, prereleases=True)

    def needs(self, requirement: Requirement, extras: Iterable[str]) -> bool:
        """Whether the requirement counts here for a package that is installed with these extras."""
        if requirement.marker is None:
            return True
        return any(requirement.marker.evaluate({**self.markers, "extra": extra}) for extra in (*extras, ""))


def build_environments(pythons: Iterable[str] = (), platforms: Iterable[str] = ()) -> list[TargetEnvironment]:
    """Every one of these Pythons on every one of these platforms; what is not named is this host's. Raises Invalid."""
    pythons, platforms = tuple(pythons), tuple(platforms)
    return [
        build_environment(python, name)
        for python in (pythons or (f"{sys.version_info.major}.{sys.version_info.minor}",))
        for name in (platforms or ("",))
    ]


def build_environment(python: str, platform_name: str) -> TargetEnvironment:
    match = PYTHON.fullmatch(python)
    if match is None:
        raise Invalid(
            "There is no Python {python!r} that packages can be resolved for.",
            python=python[:40],
            field="python",
            limit="3.9, 3.10, 3.11, ...",
        )
    version = (3, int(match[1]))
    if platform_name:
        machine, names = parse_platform(platform_name)
    else:
        machine, names = platform.machine(), list(platform_tags())
    tags = frozenset(
        [
            *cpython_tags(version, platforms=names),
            *compatible_tags(version, interpreter=f"cp{version[0]}{version[1]}", platforms=names),
        ]
    )
    is_host = version == sys.version_info[:2]
    full = platform.python_version() if is_host else f"{python}.99"
    markers = {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": full,
        "implementation_version": full,
        "platform_machine": machine,
    }
    return TargetEnvironment(f"Python {python} on {platform_name or machine}", full, tags, markers)


def parse_platform(name: str) -> tuple[str, list[str]]:
    """(machine, the platform tags that it takes, newest first) of manylinux_2_36_x86_64. Raises Invalid."""
    match = PLATFORM.fullmatch(name)
    if match is None:
        raise Invalid(
            "There is no platform {name!r} that packages can be resolved for.",
            name=name[:60],
            field="platform",
            limit="manylinux_2_N_x86_64, manylinux_2_N_aarch64",
            hint=N_("N is the minor version of the hosts' glibc: ldd --version prints it."),
        )
    machine = match[2]
    names = []
    for minor in range(int(match[1]), OLDEST_GLIBC - 1, -1):
        names.append(f"manylinux_2_{minor}_{machine}")
        if minor in LEGACY[machine]:
            names.append(f"{LEGACY[machine][minor]}_{machine}")
    return machine, [*names, f"linux_{machine}"]
