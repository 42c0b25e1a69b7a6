"""Every write of monitoring: monitors, the windows that the dispatcher evaluates, and alarms."""

from apps.fleet.monitoring.services.alarms import acknowledge_alarm, close_alarm
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
    "pause_monitor",
    "resume_monitor",
    "update_monitor",
]
