"""A wheel as the resolver sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.version import Version


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file that may be installed."""

    name: str
    version: Version
    tags: frozenset[Tag]
    requires_python: str
    requirements: tuple[Requirement, ...]
    is_yanked: bool = False


FindWheels = Callable[[str], Sequence[Wheel]]
"""Every wheel of this normalised name, of the folder and of the index"""
