"""Every write of monitoring: monitors, the windows that the dispatcher evaluates, alarms, and what follows them."""

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
from apps.fleet.monitoring.services.retraining_plans import (
    cancel_retraining,
    remove_retraining_plan,
    retry_retraining,
    set_retraining_plan,
)
from apps.fleet.monitoring.services.retraining_steps import advance_retrainings

__all__ = [
    "acknowledge_alarm",
    "advance_retrainings",
    "cancel_retraining",
    "close_alarm",
    "create_monitor",
    "delete_monitor",
    "evaluate_due_monitors",
    "list_due_drift",
    "pause_monitor",
    "record_drift",
    "remove_retraining_plan",
    "resume_monitor",
    "retry_retraining",
    "set_retraining_plan",
    "update_monitor",
]
