"""Which engine function does which kind of job, and who registers what it made. Keys as in jobs/kinds.py."""

from collections.abc import Callable

from django.conf import settings

from apps.core.actors import Actor
from apps.platform.jobs.models import Job
from workers import registration

# "module:function", imported in the child process only: the worker itself stays small.
ENGINE: dict[str, str] = {
    "noop": "deepseek.noop.run:run",
    "clean": "deepseek.clean.run:run",
    "diff": "deepseek.diff.run:run",
    "collect": "deepseek.collect.run:run",
    "profile": "deepseek.profile.run:run",
    "train": "deepseek.train.run:run",
    "quantize": "deepseek.quantize.run:run",
    "compile": "deepseek.compile.run:run",
    "evaluate": "deepseek.evaluate.run:run",
    "evaluate_predictions": "deepseek.evaluate.predictions_run:run",
    "register": "deepseek.register.run:run",
}


def collect_settings() -> dict[str, str]:
    return {"COLLECT_HOSTS": ",".join(settings.ENV.collect_hosts)}


# What of this worker's own settings an engine may see; all else of the environment stays outside.
SETTINGS: dict[str, Callable[[], dict[str, str]]] = {"collect": collect_settings}

Register = Callable[[Actor, Job, registration.Outputs], None]

REGISTER: dict[str, Register] = {
    "noop": registration.record_artifacts,
    "clean": registration.register_cleaned_table,
    "diff": registration.record_artifacts,
    "collect": registration.register_collected_table,
    "profile": registration.register_measured_table,
    "train": registration.record_training_lineage,
    "quantize": registration.record_derived_model,
    "compile": registration.record_derived_model,
    "evaluate": registration.register_evaluation_figures,
    "evaluate_predictions": registration.register_prediction_figures,
    "register": registration.register_model_version,
}
