"""Locate the imported files of a model version: with a logged model, or with a run. Reads only.

MLflow writes a version's source as a place of its own store; what follows the id of the run or model in it is the same
wherever the store was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from apps.gateways.mlflow_import.source_records import SourceVersion
from apps.ml.experiments.files.tree import get_artifact_uri
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.registry.sources import FrozenFile, freeze_files
from apps.platform.accounts.models import Project

LOGGED_MODEL_PATH = re.compile(r"(?:^models:/|/models/)(m-[0-9a-f]{32})(?:/artifacts)?(?:/|$)")
RUN_PATH = re.compile(r"(?:^runs:/|/)([0-9a-f]{32})(?:/artifacts)?(?=/|$)/?")


@dataclass(frozen=True, slots=True)
class ArtifactLocation:
    """`files`: with paths relative to the version's folder; none: its files are not here."""

    source: str
    run: Run | None = None
    logged_model: LoggedModel | None = None
    files: Sequence[FrozenFile] = ()


def locate_artifacts(project: Project, found: SourceVersion) -> ArtifactLocation:
    """The place of a version's files in the project; its source stays as it is where nothing here is meant by it.

    Raises Invalid where there are more files than a version takes. A run that is being purged is none any more.
    """
    runs = Run.objects.filter(project=project, purging_at=None).select_related("experiment")
    run = runs.filter(pk=found.run_id).first() if found.run_id else None
    match = LOGGED_MODEL_PATH.search(found.source)
    model_id = found.model_id or (match.group(1) if match else "")
    logged = LoggedModel.objects.filter(project=project, pk=model_id).first() if model_id else None
    if logged is not None:
        return ArtifactLocation(f"models:/{logged.pk}", run, logged, freeze_files(logged))
    parts = urlsplit(found.source)
    path = found.source if parts.scheme == "runs" else unquote(parts.path)
    match_run = RUN_PATH.search(path)
    owner_run = runs.filter(pk=match_run.group(1)).first() if match_run else None
    if match_run is None or owner_run is None:
        return ArtifactLocation(found.source, run)
    folder = path[match_run.end() :].strip("/")
    root = get_artifact_uri(owner_run)
    return ArtifactLocation(f"{root}/{folder}" if folder else root, run, None, freeze_files(owner_run, folder))
