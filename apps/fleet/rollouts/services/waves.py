"""How waves follow each other. Under the lock of their rollout."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from apps.core.actors import Actor
from apps.fleet.devices.absences import read_absences
from apps.fleet.rollouts.models import Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.services.locks import move_rollout, move_wave
from apps.fleet.rollouts.states import RolloutState, WaveState
from apps.platform.audit.services import record


def get_current_wave(rollout: Rollout) -> Wave | None:
    """The wave that runs, or whose verdict is waited for."""
    return rollout.waves.filter(position=rollout.position).first() if rollout.position is not None else None


def begin_wave(actor: Actor, rollout: Rollout, position: int) -> None:
    """Begin the wave at this position, or the first after it that has devices; without one the rollout has ended."""
    plan, now = read_plan(rollout.plan), timezone.now()
    for wave in rollout.waves.filter(position__gte=position, state=WaveState.PENDING).select_related("rollout"):
        move_wave(
            wave,
            WaveState.RUNNING,
            actor=actor,
            started_at=now,
            deadline_at=now + plan.wave_deadline,
            next_look_at=now + timedelta(seconds=plan.look_seconds),
        )
        Rollout.objects.filter(pk=rollout.pk).update(position=wave.position)
        rollout.position = wave.position
        if wave.devices:
            return
        move_wave(wave, WaveState.PASSED, actor=actor)
    complete_rollout(actor, rollout)


def complete_rollout(actor: Actor, rollout: Rollout) -> None:
    """End a rollout whose last wave has passed. It goes on to cover devices that enrol later, if it is planned so, in
    place of older ones of its model."""
    covers = read_plan(rollout.plan).covers_new
    older = Rollout.objects.filter(project=rollout.project_id, model_name=rollout.model_name, is_covering=True)
    older.exclude(pk=rollout.pk).update(is_covering=False)
    move_rollout(rollout, RolloutState.COMPLETED, actor=actor, is_covering=covers)
    RolloutDevice.objects.filter(rollout=rollout, is_active=True).update(is_active=False)


def pass_wave(actor: Actor, rollout: Rollout, wave: Wave, reason: str = "") -> None:
    """The wave has passed: begin the next one, or end the rollout."""
    move_wave(wave, WaveState.PASSED, actor=actor, reason=reason)
    following = rollout.waves.filter(position__gt=wave.position, state=WaveState.PENDING).exists()
    if following and rollout.state != RolloutState.RUNNING:
        move_rollout(rollout, RolloutState.RUNNING, actor=actor, action="rollout.go_on", reason=reason)
    begin_wave(actor, rollout, wave.position + 1)


def extend_wave(actor: Actor, rollout: Rollout, now: datetime) -> None:
    """Move the next look and the deadline of the wave by the time in which the plane was away."""
    wave = get_current_wave(rollout)
    if wave is None or wave.started_at is None or wave.deadline_at is None:
        return
    away = round(read_absences().measure_absence(wave.started_at, now))
    if away <= wave.away_seconds:
        return
    pause = timedelta(seconds=away - wave.away_seconds)
    before = {"deadline_at": wave.deadline_at.isoformat()}
    wave.away_seconds, wave.deadline_at = away, wave.deadline_at + pause
    wave.next_look_at = wave.next_look_at and wave.next_look_at + pause
    wave.save(update_fields=["away_seconds", "deadline_at", "next_look_at"])
    after = {"deadline_at": wave.deadline_at.isoformat(), "away_seconds": away}
    record(actor=actor, action="rollout.extend_wave", obj=rollout, before=before, after=after)
