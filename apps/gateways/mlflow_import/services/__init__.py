"""Every write of an import from MLflow. What is there already is never changed: only what is new is added."""

from apps.core import policy
from apps.core.actors import Actor
from apps.gateways.mlflow_import.services.logged_models import link_models, take_logged_model
from apps.gateways.mlflow_import.services.registry import stage_of, take_alias, take_model, take_version
from apps.gateways.mlflow_import.services.rows import File
from apps.gateways.mlflow_import.services.runs import held_experiment, take_experiment, take_run
from apps.platform.accounts.models import Project

__all__ = [
    "File",
    "held_experiment",
    "link_models",
    "require_import",
    "stage_of",
    "take_alias",
    "take_experiment",
    "take_logged_model",
    "take_model",
    "take_run",
    "take_version",
]


def require_import(*, actor: Actor, project: Project) -> None:
    """Refuse who may not import before anything of the source is read."""
    policy.require(actor, "run.import", project)
    policy.require(actor, "model.import", project)
    policy.require(actor, "artifact.take_in", project)
