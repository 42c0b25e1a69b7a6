"""What schedules can submit. The apps above register their own: pipelines, evaluations of monitors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.actors import Actor
from apps.core.registry import Registry
from apps.platform.accounts.models import Project

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTarget:
    """How one kind of request is checked, submitted, watched and copied. A body is what a client would POST."""

    label: Any  # lazily translated
    action: str  # of the policy: what whoever creates a schedule must be allowed
    validate: Callable[[Actor, Project, Body], None]  # raises Invalid, its fields as in the body
    submit: Callable[[Actor, Project, Body, str], int]  # with an idempotency key; returns the id of what was made
    is_active: Callable[[int], bool]  # whether what has this id has not ended
    cancel: Callable[[Actor, int, str], None]  # with a reason; of one that has ended: nothing
    copy_request: Callable[[Actor, Project, int], dict[str, Any]]  # the body that would submit the same again; NotFound
    url_name: str  # of the page of one, by project and id


SCHEDULE_TARGETS: Registry[ScheduleTarget] = Registry("SCHEDULE_TARGETS")
"""By the word that a schedule names it by."""
