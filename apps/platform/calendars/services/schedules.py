"""What people do with schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.services import change_state, record
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.permissions import require
from apps.platform.calendars.recurrence import find_next_time, normalize_cron, validate_timezone
from apps.platform.calendars.states import CatchUp, Overlap, ScheduleState
from apps.platform.calendars.targets import SCHEDULE_TARGETS, ScheduleTarget, list_target_keys
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_

MAX_SCHEDULES = 200  # of a project, and of the plane as a whole
RULES = {"overlap": Overlap.values, "catch_up": CatchUp.values}


def create_schedule(
    *,
    actor: Actor,
    project: Project | None,
    name: str,
    target: str,
    request: Mapping[str, Any],
    cron: str,
    timezone: str = "UTC",
    overlap: str = Overlap.SKIP,
    catch_up: str = CatchUp.LAST,
) -> Schedule:
    """Submit `request` at every time of `cron`, with the rights that the actor has then; no project: for the plane.

    Raises Invalid for a field or for what the request itself lacks (`/request/...`), Conflict `name_taken` or
    `too_many_schedules`.
    """
    require(actor, "schedule.create", project)
    schedule = Schedule(project=project, name=name.strip(), target=target, request=dict(request), timezone=timezone)
    schedule.cron, schedule.overlap, schedule.catch_up = cron, overlap, catch_up
    schedule.created_by, schedule.grant = actor.label, build_grant(actor)
    check_schedule(actor, schedule)
    schedule.next_at = find_next_time(schedule.cron, schedule.timezone, get_database_now())
    try:
        with transaction.atomic():
            check_number(project)
            schedule.save()
            record(actor=actor, action="schedule.create", obj=schedule, after=describe_fields(schedule))
    except IntegrityError:
        raise build_name_conflict(schedule.name) from None
    return schedule


def update_schedule(*, actor: Actor, schedule: Schedule, **changes: Any) -> Schedule:
    """Change its name, request, times or rules; it submits with the rights of whoever changed it last.

    A former request that names no longer what is there keeps nobody from changing the cron expression: it is checked
    where it changes.
    """
    require(actor, "schedule.update", schedule)
    try:
        with transaction.atomic():
            locked = Schedule.objects.select_for_update(of=("self",)).select_related("project").get(pk=schedule.pk)
            before = describe_fields(locked)
            for field, value in changes.items():
                setattr(locked, field, value.strip() if field == "name" else value)
            check_schedule(actor, locked, checks_request=bool({"request", "target"} & changes.keys()))
            after = describe_fields(locked)
            different = {field for field in after if after[field] != before[field]}
            if not different:
                return locked
            if different & {"request", "target"}:
                locked.grant, locked.created_by = build_grant(actor), actor.label
            if different & {"cron", "timezone"} and locked.state == ScheduleState.ACTIVE:
                locked.next_at = find_next_time(locked.cron, locked.timezone, get_database_now())
            columns = {name: getattr(locked, name) for name in (*changes, "grant", "created_by", "next_at")}
            Schedule.objects.filter(pk=locked.pk).update(**columns)
            record(
                actor=actor,
                action="schedule.update",
                obj=locked,
                before={field: before[field] for field in different},
                after={field: after[field] for field in different},
            )
    except IntegrityError:
        raise build_name_conflict(str(changes.get("name", schedule.name))) from None
    return locked


def pause_schedule(*, actor: Actor, schedule: Schedule, reason: str = "") -> Schedule:
    """Submit nothing until it is resumed; the times in between are not made up for."""
    require(actor, "schedule.pause", schedule)
    return change_state(schedule, ScheduleState.PAUSED, actor=actor, reason=reason, next_at=None)


def resume_schedule(*, actor: Actor, schedule: Schedule) -> Schedule:
    """Go on with the first time from now on."""
    require(actor, "schedule.resume", schedule)
    next_at = find_next_time(schedule.cron, schedule.timezone, get_database_now())
    return change_state(schedule, ScheduleState.ACTIVE, actor=actor, next_at=next_at, failures=0)


def delete_schedule(*, actor: Actor, schedule: Schedule, reason: str = "") -> None:
    """Delete it with the list of its times; what it has submitted stays."""
    require(actor, "schedule.delete", schedule)
    with transaction.atomic():
        record(actor=actor, action="schedule.delete", obj=schedule, reason=reason, before=describe_fields(schedule))
        Schedule.objects.filter(pk=schedule.pk).delete()


# -- checks ---------------------------------------------------------------------------------------------------------
def check_number(project: Project | None) -> None:
    """Raise Conflict where no more schedules fit."""
    if Schedule.objects.filter(project=project).count() < MAX_SCHEDULES:
        return
    raise Conflict(
        N_("This project has {count} schedules, which is the limit.")
        if project
        else N_("The plane has {count} schedules, which is the limit."),
        count=MAX_SCHEDULES,
        limit=MAX_SCHEDULES,
        code="too_many_schedules",
        field="name",
        hint=N_("Delete one that is no longer needed."),
    )


def check_schedule(actor: Actor, schedule: Schedule, *, checks_request: bool = True) -> None:
    """Raise Invalid for a field that is wrong; brings `cron` into its normal form."""
    check_fields(schedule, "name")
    schedule.cron = normalize_cron(schedule.cron)
    validate_timezone(schedule.timezone)
    for field, choices in RULES.items():
        validate_choice(field, getattr(schedule, field), choices, required=True)
    validate_choice("target", schedule.target, list_target_keys(schedule.project), required=True)
    target = SCHEDULE_TARGETS[schedule.target]
    policy.require(actor, target.action, schedule.project)
    if checks_request:
        check_request(actor, schedule, target)


def check_request(actor: Actor, schedule: Schedule, target: ScheduleTarget) -> None:
    try:
        target.validate(actor, schedule.project, schedule.request)
    except Invalid as failure:
        raise combine_errors([{**error, "field": f"/request{error['field']}"} for error in failure.errors]) from None


def build_name_conflict(name: str) -> Conflict:
    return Conflict(
        "There is a schedule {name!r} already.",
        name=name[:60],
        code="name_taken",
        field="name",
        hint=N_("Choose another name."),
    )


def build_grant(actor: Actor) -> dict[str, Any]:
    record_of_actor = actor.as_record()
    if actor.plane_role:  # by its role, wherever that process ran
        record_of_actor["label"] = actor.plane_role.value
    return {**record_of_actor, "scopes": sorted(actor.scopes) if actor.scopes is not None else None}


def describe_fields(schedule: Schedule) -> dict[str, Any]:
    """What the audit records keep: the request by its digest, since it may be long."""
    names = ("name", "target", "cron", "timezone", "overlap", "catch_up")
    return {**{name: getattr(schedule, name) for name in names}, "request": compute_digest(schedule.request)}
