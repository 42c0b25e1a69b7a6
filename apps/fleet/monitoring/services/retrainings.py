"""A retraining begins with its alarm, in the same transaction, or is refused by the budget of its monitor."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.fleet.monitoring.models import Alarm, Monitor, Retraining, RetrainingPlan
from apps.fleet.monitoring.retraining.states import DRIVEN, RetrainingState
from apps.fleet.monitoring.services.retraining_plans import describe_plan, get_retrained_version
from apps.ml.registry.models import ModelVersion
from apps.platform.audit.services import record
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import Message

WEEK = timedelta(days=7)


def begin_retraining(actor: Actor, alarm: Alarm) -> Retraining | None:
    """What the plan of its monitor says follows an alarm; None where that is nothing. Under the monitor's lock."""
    monitor = alarm.monitor
    plan = RetrainingPlan.objects.filter(monitor=monitor).first()
    if plan is None or alarm.cause not in plan.causes:
        return None
    now = get_database_now()
    facts = {
        "project": monitor.project,
        "monitor": monitor,
        "alarm": alarm,
        "model": monitor.model,
        "former": find_former_version(alarm),
        "settings": describe_plan(plan),
        "grant": plan.grant,
        "since": alarm.since - timedelta(hours=monitor.window_hours),
        "deadline_at": now + timedelta(hours=plan.wait_hours),
        "created_at": now,
    }
    refusal = find_refusal(monitor, plan)
    if refusal is None:
        try:
            with transaction.atomic():
                return insert_retraining(actor, facts | {"next_at": now})
        except IntegrityError:  # another monitor of the model was faster
            refusal = build_active_refusal(find_active(monitor))
    ended = {"state": RetrainingState.REFUSED, "state_reason": refusal.as_fields(), "ended_at": now}
    return insert_retraining(actor, facts | ended, reason=refusal)


def insert_retraining(actor: Actor, facts: dict[str, Any], reason: str = "") -> Retraining:
    retraining = Retraining.objects.create(**facts)
    former = retraining.former
    after = {
        "alarm": retraining.alarm_id,
        "monitor": retraining.monitor.name,
        "former": former.number if former else None,
        **retraining.settings,
    }
    action = f"retraining.{retraining.state}"
    record(actor=actor, action=action, obj=retraining, reason=reason, after=after)
    return retraining


def find_refusal(monitor: Monitor, plan: RetrainingPlan) -> Message | None:
    """Why the budget lets none begin now."""
    active = find_active(monitor)
    if active is not None:
        return build_active_refusal(active)
    begun = Retraining.objects.filter(monitor=monitor, created_at__gt=get_database_now() - WEEK)
    count = begun.exclude(state=RetrainingState.REFUSED).count()
    if count < plan.weekly_budget:
        return None
    return Message(
        "{count} retrainings began within seven days, and {most} are allowed.", count=count, most=plan.weekly_budget
    )


def find_active(monitor: Monitor) -> Retraining | None:
    return Retraining.objects.filter(model=monitor.model_id, state__in=DRIVEN).first()


def build_active_refusal(active: Retraining | None) -> Message:
    if active is not None and active.state == RetrainingState.AWAITING_APPROVAL:
        return Message("What the alarm {alarm} had trained still awaits approval.", alarm=active.alarm_id)
    return Message("The retraining after the alarm {alarm} has not ended.", alarm=active.alarm_id if active else "?")


def find_former_version(alarm: Alarm) -> ModelVersion | None:
    """The version with the most labelled answers of the alarm's window; without one that which is in production."""
    versions = ModelVersion.objects.filter(model=alarm.monitor.model_id, deleted_at=None)
    slices = alarm.evidence.get("by_version") or []
    number = slices[0].get("version") if slices else None
    former = versions.filter(number=number).first() if number else None
    if former is not None:
        return former
    try:
        return get_retrained_version(alarm.monitor)
    except Invalid:
        return None
