"""Every write of an import from MLflow. Existing rows never change: only what is new is added."""

from apps.core import policy
from apps.core.actors import Actor
from apps.gateways.mlflow_import.services.logged_models import import_logged_model, link_models
from apps.gateways.mlflow_import.services.registry import import_alias, import_model, import_version, parse_stage
from apps.gateways.mlflow_import.services.rows import File
from apps.gateways.mlflow_import.services.runs import find_experiment, import_experiment, import_run
from apps.platform.accounts.models import Project

__all__ = [
    "File",
    "find_experiment",
    "import_alias",
    "import_experiment",
    "import_logged_model",
    "import_model",
    "import_run",
    "import_version",
    "link_models",
    "parse_stage",
    "require_import",
]


def require_import(*, actor: Actor, project: Project) -> None:
    """Refuse who may not import before anything of the source is read."""
    policy.require(actor, "run.import", project)
    policy.require(actor, "model.import", project)
    policy.require(actor, "artifact.take_in", project)
