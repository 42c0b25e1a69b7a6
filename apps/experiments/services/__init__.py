"""Every write of experiments and runs: by the jobs of the plane (jobs.py), and by clients that record from outside."""

from apps.experiments.series import Point
from apps.experiments.services.experiments import (
    create_experiment,
    delete_experiment,
    delete_experiment_tag,
    ensure_default,
    ensure_experiment,
    rename_experiment,
    restore_experiment,
    set_experiment_tag,
)
from apps.experiments.services.jobs import (
    ENDINGS,
    Facts,
    close_ended_runs,
    finish_run,
    log_metrics,
    start_run,
    why,
)

__all__ = [
    "ENDINGS",
    "Facts",
    "Point",
    "close_ended_runs",
    "create_experiment",
    "delete_experiment",
    "delete_experiment_tag",
    "ensure_default",
    "ensure_experiment",
    "finish_run",
    "log_metrics",
    "rename_experiment",
    "restore_experiment",
    "set_experiment_tag",
    "start_run",
    "why",
]
