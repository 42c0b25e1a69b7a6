"""The dispatcher's round: every window of an active monitor is evaluated once, some minutes after its end.

A window, its verdict, what follows for alarms and the monitor's place are one transaction under the monitor's lock. So
a process that is killed has evaluated a window or has not begun, and of several dispatchers only one does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection, transaction

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.fleet.monitoring.evidence import build_drop_evidence, build_silence_evidence
from apps.fleet.monitoring.figures import WindowFigures, filter_hours, find_last_hour, find_reference, read_window
from apps.fleet.monitoring.measures import build_rule, is_beyond
from apps.fleet.monitoring.models import Monitor, Window
from apps.fleet.monitoring.services.alarms import (
    close_if_over,
    find_active_alarm,
    is_cooling_down,
    note_bad,
    open_alarm,
)
from apps.fleet.monitoring.states import Cause, MonitorState, Verdict
from apps.ml.observations.services.batches import HOUR, floor_hour
from apps.platform.nodes.samples import get_database_now

log = logging.getLogger(__name__)

SETTLE = timedelta(minutes=5)  # after the end of an hour its last batches come
FAULT_PAUSE = timedelta(minutes=5)
MAX_CATCH_UP = 168  # windows that are made up for after the plane was down
WINDOWS_PER_STEP = 24
MONITORS_PER_ROUND = 100
KEPT_WINDOWS = 24 * 400  # of a monitor


def evaluate_due_monitors(*, actor: Actor, stopping: Callable[[], bool] = lambda: False) -> int:
    """Evaluate every window that has ended; how many. A fault in one monitor delays that one alone."""
    require(actor, "monitor.evaluate")
    now = get_database_now()
    due = Monitor.objects.filter(state=MonitorState.ACTIVE, next_at__lte=now, model__deleted_at=None)
    count = 0
    for pk in list(due.order_by("next_at").values_list("pk", flat=True)[:MONITORS_PER_ROUND]):
        if stopping():
            break
        try:
            count += evaluate_monitor(actor, pk, now)
        except Exception as failure:
            if isinstance(failure, PlaneError):  # its group of devices is gone, or reads no more
                log.warning("monitor %s: %s", pk, failure)
            else:
                log.exception("monitor %s", pk)
            Monitor.objects.filter(pk=pk, state=MonitorState.ACTIVE).update(next_at=now + FAULT_PAUSE)
    return count


def evaluate_monitor(actor: Actor, pk: int, now: datetime) -> int:
    """The windows of one monitor that have ended, a transaction each, and then whether it is silent."""
    for count in range(WINDOWS_PER_STEP):
        with transaction.atomic():
            monitor = lock_due(pk, now)
            if monitor is None:
                return count
            last = find_last_end(monitor, now)
            if monitor.evaluated_until >= last:
                check_silence(actor, monitor, now)
                prune_windows(monitor)
                monitor.next_at = last + HOUR + timedelta(hours=monitor.lag_hours) + SETTLE
                monitor.save(update_fields=["next_at"])
                return count
            until = max(monitor.evaluated_until + HOUR, last - (MAX_CATCH_UP - 1) * HOUR)
            evaluate_window(actor, monitor, until, now)
            monitor.evaluated_until = until
            monitor.save(update_fields=["evaluated_until"])
    return WINDOWS_PER_STEP


def lock_due(pk: int, now: datetime) -> Monitor | None:
    rows = Monitor.objects.select_related("project", "model").filter(pk=pk, state=MonitorState.ACTIVE, next_at__lte=now)
    skips_locked = connection.features.has_select_for_update_skip_locked
    return rows.select_for_update(of=("self",), skip_locked=skips_locked).first()


def find_last_end(monitor: Monitor, now: datetime) -> datetime:
    """The end of the last window whose hours are complete, as far as labels are waited for."""
    return floor_hour(now - SETTLE) - timedelta(hours=monitor.lag_hours)


# -- one window -----------------------------------------------------------------------------------------------------
def evaluate_window(actor: Actor, monitor: Monitor, until: datetime, now: datetime) -> Window:
    begins = until - timedelta(hours=monitor.window_hours)
    figures = read_window(monitor, begins, until)
    window = build_window(monitor, figures, until)
    window.save(force_insert=True)
    if window.verdict == Verdict.GOOD:
        close_if_over(actor, monitor, Cause.DROP)
    elif window.verdict == Verdict.WORSE:
        raise_drop(actor, monitor, figures, window, begins, now)
    return window


def build_window(monitor: Monitor, found: WindowFigures, until: datetime) -> Window:
    overall = found.whole
    window = Window(monitor=monitor, until=until, verdict=Verdict.FEW)
    window.predictions, window.count = overall.figures.predictions, overall.figures.scored
    busiest = found.by_version[0].key if found.by_version else None
    window.version_id = busiest
    window.reference = find_reference(monitor, busiest)
    if window.reference is not None:
        window.line = build_rule(monitor).compute_threshold(window.reference)
    estimate = overall.estimate
    if estimate is None:
        return window
    window.value, window.low, window.high = estimate.value, estimate.low, estimate.high
    if window.count < monitor.min_count:
        return window
    if window.reference is None:
        window.verdict = Verdict.NO_REFERENCE
    else:
        worse = is_beyond(build_rule(monitor), window.reference, estimate)
        window.verdict = Verdict.WORSE if worse else Verdict.GOOD
    return window


def raise_drop(
    actor: Actor, monitor: Monitor, found: WindowFigures, window: Window, begins: datetime, now: datetime
) -> None:
    alarm = find_active_alarm(monitor, Cause.DROP)
    if alarm is not None:
        note_bad(alarm, window.until)
    elif not is_cooling_down(monitor, Cause.DROP, now):
        since = find_first_bad(monitor, window)
        evidence = build_drop_evidence(monitor, found, window, since, begins)
        open_alarm(actor, monitor, Cause.DROP, evidence, since=since, at=window.until)


def find_first_bad(monitor: Monitor, window: Window) -> datetime:
    """The end of the first bad window after the last good one."""
    rows = Window.objects.filter(monitor=monitor, until__lte=window.until)
    good = rows.filter(verdict=Verdict.GOOD).order_by("-until").values_list("until", flat=True).first()
    bad = rows.filter(verdict=Verdict.WORSE, **({"until__gt": good} if good else {}))
    return bad.order_by("until").values_list("until", flat=True).first() or window.until


# -- silence --------------------------------------------------------------------------------------------------------
def check_silence(actor: Actor, monitor: Monitor, now: datetime) -> None:
    """Whether nothing was answered for as long as the monitor says, since it is watched."""
    if monitor.silence_hours is None:
        return
    allowed = timedelta(hours=monitor.silence_hours)
    if filter_hours(monitor, floor_hour(now - allowed), now + HOUR).exists():
        close_if_over(actor, monitor, Cause.SILENCE)
        return
    if now - monitor.watched_from < allowed:
        return
    alarm = find_active_alarm(monitor, Cause.SILENCE)
    if alarm is not None:
        note_bad(alarm, now)
    elif not is_cooling_down(monitor, Cause.SILENCE, now):
        last = find_last_hour(monitor, monitor.watched_from - allowed)
        since = max(last + HOUR, monitor.watched_from) if last else monitor.watched_from
        open_alarm(actor, monitor, Cause.SILENCE, build_silence_evidence(monitor, since, now), since=since, at=now)


def prune_windows(monitor: Monitor) -> None:
    oldest = monitor.evaluated_until - KEPT_WINDOWS * HOUR
    Window.objects.filter(monitor=monitor, until__lt=oldest).delete()
