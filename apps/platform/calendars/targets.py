"""What schedules can submit. The apps above register their own: pipelines, snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from apps.core.actors import Actor
from apps.core.registry import Registry

Body = Mapping[str, Any]


class TargetScope(StrEnum):
    """Which schedules may name a target."""

    PROJECT = "project"  # those of a project, which is handed to each function
    PLANE = "plane"  # those of the plane as a whole; None stands for the project


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTarget:
    """How one kind of request is checked, submitted, watched and copied. A body is what a client would POST.

    The second argument of `validate`, `submit` and `copy_request` is the Project, or None by `scope`.
    """

    label: Any  # lazily translated
    action: str  # of the policy: what whoever creates a schedule must be allowed
    validate: Callable[[Actor, Any, Body], None]  # raises Invalid, its fields as in the body
    submit: Callable[[Actor, Any, Body, str], int]  # with an idempotency key; returns the id of what was made
    is_active: Callable[[int], bool]  # whether what has this id has not ended
    cancel: Callable[[Actor, int, str], None]  # with a reason; of one that has ended: nothing
    copy_request: Callable[[Actor, Any, int], dict[str, Any]]  # the body that would submit the same again; NotFound
    url_name: str  # of the page of one: by project and id, or by id alone
    scope: TargetScope = TargetScope.PROJECT
    example: Mapping[str, Any] = field(default_factory=dict)  # the request that the form of a new schedule begins with


SCHEDULE_TARGETS: Registry[ScheduleTarget] = Registry("SCHEDULE_TARGETS")
"""By the word that a schedule names it by."""


def list_target_keys(project: Any) -> list[str]:
    """The targets that a schedule of the project may name, or one of the plane where that is None; sorted."""
    scope = TargetScope.PLANE if project is None else TargetScope.PROJECT
    return sorted(key for key, target in SCHEDULE_TARGETS.items() if target.scope == scope)
