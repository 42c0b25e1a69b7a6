"""Every write of sweeps: asked for by people, driven by the dispatcher, answered by the job that chooses trials."""

from apps.ml.sweeps.services.answers import adopt_trial_run, is_trial, record_answer
from apps.ml.sweeps.services.driving import advance_sweeps
from apps.ml.sweeps.services.requests import cancel_sweep, create_sweep

__all__ = ["adopt_trial_run", "advance_sweeps", "cancel_sweep", "create_sweep", "is_trial", "record_answer"]
