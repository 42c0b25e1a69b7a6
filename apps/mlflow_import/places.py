"""Where the files of a version are once they are here: with a logged model, or with a run. Reads only.

MLflow writes a version's source as a place of its own store; what follows the id of the run or model in it is the same
wherever the store was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from apps.accounts.models import Project
from apps.experiments.models import LoggedModel, LoggedModelArtifact, Run, RunArtifact
from apps.mlflow_import.found import FoundVersion

LOGGED = re.compile(r"(?:^models:/|/models/)(m-[0-9a-f]{32})(?:/artifacts)?(?:/|$)")
RUN_PATH = re.compile(r"(?:^runs:/|/)([0-9a-f]{32})(?:/artifacts)?(?:/(.*))?$")


@dataclass(frozen=True, slots=True)
class Place:
    """`files`: path relative to the version's folder -> digest; none: its files are not here."""

    source: str
    run: Run | None = None
    logged_model: LoggedModel | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def place_of(project: Project, found: FoundVersion) -> Place:
    """The place of a version's files in the project; its source stays as it is where nothing here is meant by it."""
    runs = Run.objects.filter(project=project).select_related("experiment")
    run = runs.filter(pk=found.run_id).first() if found.run_id else None
    told = LOGGED.search(found.source)
    model_id = found.model_id or (told.group(1) if told else "")
    logged = LoggedModel.objects.filter(project=project, pk=model_id).first() if model_id else None
    if logged is not None:
        theirs = LoggedModelArtifact.objects.filter(model=logged).order_by("path").values_list("path", "artifact_id")
        return Place(f"models:/{logged.pk}", run, logged, dict(theirs))
    parts = urlsplit(found.source)
    within = RUN_PATH.search(found.source if parts.scheme == "runs" else unquote(parts.path))
    holder = runs.filter(pk=within.group(1)).first() if within else None
    if within is None or holder is None:
        return Place(found.source, run)
    folder = (within.group(2) or "").strip("/")
    start = f"{folder}/" if folder else ""
    rows = RunArtifact.objects.filter(run=holder, path__startswith=start).order_by("path")
    files = {path[len(start) :]: digest for path, digest in rows.values_list("path", "artifact_id")}
    at = f"mlflow-artifacts:/{holder.experiment.number}/{holder.pk}/artifacts"
    return Place(f"{at}/{folder}" if folder else at, run, None, files)
