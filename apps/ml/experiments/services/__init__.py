"""Every write of experiments and runs: by the jobs of the plane (jobs.py), and by clients that record from outside."""

from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.services.experiments import (
    create_experiment,
    delete_experiment,
    delete_experiment_tag,
    ensure_default,
    ensure_experiment,
    rename_experiment,
    restore_experiment,
    set_experiment_tag,
)
from apps.ml.experiments.services.inputs import DatasetInput, log_inputs, log_model_info, log_outputs
from apps.ml.experiments.services.jobs import (
    ENDINGS,
    Facts,
    close_ended_runs,
    finish_run,
    get_end_reason,
    log_metrics,
    start_run,
)
from apps.ml.experiments.services.metric_ingestion import ingest_all_batches, ingest_batches
from apps.ml.experiments.services.metrics import ModelPoint, SentPoint, log_points
from apps.ml.experiments.services.nested import close_parent_run, nest_run, open_parent_run
from apps.ml.experiments.services.run_tokens import create_run_token
from apps.ml.experiments.services.runs import (
    create_run,
    delete_run,
    delete_tag,
    log_batch,
    restore_run,
    update_run,
)

__all__ = [
    "ENDINGS",
    "DatasetInput",
    "Facts",
    "ModelPoint",
    "Point",
    "SentPoint",
    "close_ended_runs",
    "close_parent_run",
    "create_experiment",
    "create_run",
    "create_run_token",
    "delete_experiment",
    "delete_experiment_tag",
    "delete_run",
    "delete_tag",
    "ensure_default",
    "ensure_experiment",
    "finish_run",
    "get_end_reason",
    "ingest_all_batches",
    "ingest_batches",
    "log_batch",
    "log_inputs",
    "log_metrics",
    "log_model_info",
    "log_outputs",
    "log_points",
    "nest_run",
    "open_parent_run",
    "rename_experiment",
    "restore_experiment",
    "restore_run",
    "set_experiment_tag",
    "start_run",
    "update_run",
]
