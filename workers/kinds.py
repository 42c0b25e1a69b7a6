"""Which engine function does which kind of job, and who registers what it made. Keys as in jobs/kinds.py."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from django.conf import settings

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.platform.jobs.models import Job
from deepseek.compile.runtime import FOLDER
from deepseek.messages import N_
from deepseek.script.image import IMAGE
from deepseek.script.run import INTERPRETER, PLANE_URL
from workers import registration
from workers.federation.registration import register_participation, register_study_result
from workers.images.store import find_image, get_environment_name
from workers.inputs.folders import arrange_folders
from workers.inputs.script import arrange_inputs
from workers.isolation import find_plane_url
from workers.predictions.registration import register_predicted_table
from workers.tracking import Tracker

# "module:function", imported in the child process only: the worker itself stays small.
ENGINE: dict[str, str] = {
    "noop": "deepseek.noop.run:run",
    "clean": "deepseek.clean.run:run",
    "diff": "deepseek.diff.run:run",
    "collect": "deepseek.collect.run:run",
    "profile": "deepseek.profile.run:run",
    "train": "deepseek.train.run:run",
    "train_entities": "deepseek.entities.run:run",
    "train_image": "deepseek.images.run:run",
    "train_language": "deepseek.language.run:run",
    "merge_adapter": "deepseek.language.merge:run",
    "quantize": "deepseek.quantize.run:run",
    "compile": "deepseek.compile.run:run",
    "export": "deepseek.export.run:run",
    "evaluate": "deepseek.evaluate.run:run",
    "evaluate_predictions": "deepseek.evaluate.predictions_run:run",
    "predict": "deepseek.predict.run:run",
    "health_samples": "deepseek.health.run:run",
    "register": "deepseek.register.run:run",
    "script": "deepseek.script.run:run",
    "federation_server": "deepseek.federated.server:run",
    "federation_site": "deepseek.federated.site:run",
    "sweep_ask": "deepseek.sweep.run:run",
    "observations": "deepseek.observations.run:run",
    "retraining_data": "deepseek.retraining.run:run",
}


def get_compile_settings(job: Job, tracker: Tracker) -> dict[str, str]:
    """Where the runtimes of other machines lie, if not at their default place."""
    folder = settings.ENV.target_runtimes
    return {FOLDER: folder} if folder else {}


def get_collect_settings(job: Job, tracker: Tracker) -> dict[str, str]:
    return {"COLLECT_HOSTS": ",".join(settings.ENV.collect_hosts)}


def get_script_settings(job: Job, tracker: Tracker) -> dict[str, str]:
    """The plane's address, the token of the job's run, and the interpreter or image of the environment it names."""
    return {PLANE_URL: find_plane_url(), **tracker.build_client_variables(), **get_environment_settings(job)}


def get_environment_settings(job: Job) -> dict[str, str]:
    """What the engine has to know of the environment that the job names. Raises PlaneError for one that is gone."""
    name, image = get_environment_name(job), find_image(job)
    if image is not None:
        return {IMAGE: json.dumps(image.environment)}
    interpreters = settings.ENV.list_script_environments()
    if name and name not in interpreters:
        raise PlaneError(
            "The node {node} has no environment {name}.",
            node=settings.ENV.node,
            name=name,
            code="environment_missing",
            field="/spec/environment",
            limit=", ".join(sorted(interpreters)),
            hint=N_("Name one that the node's page lists, or add it to SCRIPT_ENVIRONMENTS of its worker."),
        )
    return {INTERPRETER: str(interpreters[name])} if name else {}


# What of this worker's own settings an engine may see; all else of the environment stays outside.
SETTINGS: dict[str, Callable[[Job, Tracker], dict[str, str]]] = {
    "collect": get_collect_settings,
    "compile": get_compile_settings,
    "script": get_script_settings,
}

# How the staged inputs (slot -> path, all in one folder) are laid out for an engine that wants more than files.
ARRANGE: dict[str, Callable[[Path, Mapping[str, str]], dict[str, str]]] = {
    "script": arrange_inputs,
    "clean": arrange_folders,
    "diff": arrange_folders,
    "profile": arrange_folders,
    "train": arrange_folders,
    "train_image": arrange_folders,
    "train_language": arrange_folders,
    "evaluate": arrange_folders,
    "evaluate_predictions": arrange_folders,
    "merge_adapter": arrange_folders,
    "predict": arrange_folders,
}

Register = Callable[[Actor, Job, registration.Outputs], None]

# What is made of the run once it is closed, with its files.
PUBLISH: dict[str, Register] = {"script": registration.publish_script_model}

REGISTER: dict[str, Register] = {
    "noop": registration.record_artifacts,
    "clean": registration.register_cleaned_table,
    "diff": registration.record_artifacts,
    "collect": registration.register_collected_table,
    "profile": registration.register_measured_table,
    "train": registration.record_training_lineage,
    "train_entities": registration.record_training_lineage,
    "train_image": registration.record_image_training_lineage,
    "train_language": registration.record_training_lineage,
    "merge_adapter": registration.record_derived_model,
    "quantize": registration.record_derived_model,
    "compile": registration.record_derived_model,
    "export": registration.record_exported_model,
    "evaluate": registration.register_evaluation_figures,
    "evaluate_predictions": registration.register_prediction_figures,
    "predict": register_predicted_table,
    "health_samples": registration.record_artifacts,
    "register": registration.register_model_version,
    "script": registration.register_script_outputs,
    "federation_server": register_study_result,
    "federation_site": register_participation,
    "sweep_ask": registration.register_sweep_trials,
    "observations": registration.register_observations,
    "retraining_data": registration.register_retraining_data,
}
