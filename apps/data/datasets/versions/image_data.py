"""The dataset version that a training on images, or an evaluation on them, names, as inputs of its job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.ingest.image_folders import IMAGE_TABLE_PATH, MANIFESTS
from apps.data.datasets.ingest.image_headers import SUFFIXES
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.datasets.queries import get_version, list_files
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import SLOT_LIMIT
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.submission import InputSpec
from deepseek.images.spec import IMAGES
from deepseek.messages import Message

MAX_FILES = 20_000  # of one job
MAX_VERSIONS_OFFERED = 100  # newest first
REFERENCE = re.compile("^([^:]+):v?([0-9]+)$")
FIELD = f"/spec/{IMAGES}"
TABLE = "table"  # the slot of an evaluation, which images fill as files of a folder


def resolve_images(actor: Actor, project: Project, spec: BaseModel, slot: str = IMAGES) -> list[InputSpec]:
    """One input for each image of the version that the spec names, and for the table of their labels, below `slot`.

    Raises Invalid for a version that is not there, holds no images, or too many.
    """
    match = REFERENCE.match(getattr(spec, IMAGES))
    if match is None:  # none is named: the inputs may be given one by one
        return []
    name, number = match.groups()
    try:
        version = get_version(actor, project, name, number)
        files = list_files(actor, version)
    except PlaneError as failure:
        raise combine_errors([build_image_error("data_unknown", failure.message, "NAME:vN")]) from failure
    return [
        InputSpec(slot=build_image_slot(file.path, slot), digest=file.artifact_id)
        for file in select_image_files(version, files)
    ]


def resolve_test_images(actor: Actor, project: Project, spec: BaseModel) -> list[InputSpec]:
    """As `resolve_images`, of an evaluation: in the place of its table."""
    return resolve_images(actor, project, spec, TABLE)


def select_image_files(version: DatasetVersion, files: Sequence[DatasetFile]) -> list[DatasetFile]:
    """The images among the files of a version, and the tables of their labels before them; Invalid as above."""
    name, number = version.dataset.name, version.number
    images = [file for file in files if file.path.lower().endswith(SUFFIXES)]
    if not images:
        message = Message("{name}:v{number} holds no image.", name=name, number=number)
        raise combine_errors([build_image_error("no_images", message, ", ".join(SUFFIXES))])
    if len(images) > MAX_FILES:
        message = Message("{name}:v{number} holds {count:,} images.", name=name, number=number, count=len(images))
        raise combine_errors([build_image_error("too_many_files", message, MAX_FILES)])
    tables = [file for file in files if file.path in (IMAGE_TABLE_PATH, *MANIFESTS)]
    return [*tables, *images]


def build_image_slot(path: str, folder: str = IMAGES) -> str:
    """Where the engine finds the file: its path below the folder of images."""
    slot = str(PurePosixPath(folder) / path)
    if len(slot) > SLOT_LIMIT:
        message = Message("The path {path} is too long for an input.", path=path[:60])
        raise combine_errors([build_image_error("too_long", message, SLOT_LIMIT - len(folder) - 1)])
    return slot


def build_image_error(code: str, message: str, limit: Any) -> dict[str, Any]:
    hint = Message("Name a dataset of images: one that was registered with its images.csv.")
    return {"code": code, "message": message, "field": FIELD, "limit": limit, "hint": hint}


def list_image_versions(actor: Actor, project: Project) -> list[DatasetVersion]:
    """The newest versions that hold a table of images."""
    visible = Dataset.objects.visible_to(actor).filter(project=project)
    files = DatasetFile.objects.filter(path=IMAGE_TABLE_PATH, version__dataset__in=visible, version__deleted_at=None)
    newest = files.select_related("version__dataset").defer("version__manifest").order_by("-version_id")
    return [file.version for file in newest[:MAX_VERSIONS_OFFERED]]


def format_image_reference(version: DatasetVersion) -> str:
    """The version as a spec names it."""
    return f"{version.dataset.name}:v{version.number}"


def find_named_version(project_id: int, reference: str) -> DatasetVersion | None:
    """The version NAME:vN of a project, for whoever may see the job that named it."""
    match = REFERENCE.match(reference)
    if match is None:
        return None
    name, number = match.groups()
    versions = DatasetVersion.objects.filter(dataset__project_id=project_id, dataset__name=name, number=int(number))
    return versions.select_related("dataset").defer("manifest").first()
