"""Every write of monitoring: monitors, the windows that the dispatcher evaluates, and alarms."""

from apps.fleet.monitoring.services.alarms import acknowledge_alarm, close_alarm
from apps.fleet.monitoring.services.drifting import list_due_drift, record_drift
from apps.fleet.monitoring.services.evaluating import evaluate_due_monitors
from apps.fleet.monitoring.services.monitors import (
    create_monitor,
    delete_monitor,
    pause_monitor,
    resume_monitor,
    update_monitor,
)

__all__ = [
    "acknowledge_alarm",
    "close_alarm",
    "create_monitor",
    "delete_monitor",
    "evaluate_due_monitors",
    "list_due_drift",
    "pause_monitor",
    "record_drift",
    "resume_monitor",
    "update_monitor",
]
