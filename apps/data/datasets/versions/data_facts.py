"""What is known of a version's data before a job reads it: rows, columns, bytes, classes of images, a base's sizes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.presenters import NUMBER_TYPES
from apps.data.datasets.queries import get_version, list_files
from apps.data.datasets.versions.script_data import VERSION
from apps.platform.accounts.models import Project
from apps.platform.jobs.scheduling.input_facts import read_config
from deepseek.fit.architectures import CONFIG, TENSORS
from deepseek.fit.memory import DataFacts

MAX_DIGESTS = 500  # of a version of many files the first tell as much as all
LEARNABLE_TYPES = (*NUMBER_TYPES, "decimal", "bool")


def find_data_facts(project: Project, digests: Collection[str]) -> DataFacts | None:
    """Of the newest version of the project that has one of these files; None where none has. One query."""
    files = DatasetFile.objects.filter(
        artifact__in=list(digests)[:MAX_DIGESTS], version__dataset__project=project, version__deleted_at=None
    )
    file = files.select_related("version", "artifact").defer("version__manifest").order_by("-version_id").first()
    if file is None:
        return None
    return build_data_facts(file.version, file.version.size if file.version.parts else file.artifact.size)


def build_data_facts(version: DatasetVersion, file_bytes: int) -> DataFacts:
    types = [str(column.get("dtype") or "") for column in version.columns]
    return DataFacts(
        rows=version.rows,
        columns=len(types) or None,
        number_columns=sum(dtype.startswith(LEARNABLE_TYPES) for dtype in types) if types else None,
        file_bytes=file_bytes,
        classes=find_image_params(version).get("classes_count"),
    )


def find_image_params(version: DatasetVersion) -> dict[str, Any]:
    """What the ingest of a folder of images recorded; empty for every other version."""
    params = version.params.get("images") if isinstance(version.params, dict) else None
    return params if isinstance(params, dict) else {}


def build_image_facts(version: DatasetVersion) -> DataFacts:
    """Of a version of images, which has a row for each."""
    return build_data_facts(version, version.size)


def find_base_facts(
    actor: Actor, project: Project, reference: str, texts: DatasetFile | None = None
) -> DataFacts | None:
    """Of the base model in the version NAME:vN, and of the texts; None while there is no such version."""
    name, _, number = reference.partition(":")
    try:
        files = list_files(actor, get_version(actor, project, name, VERSION.sub(r"\1", number)), MAX_DIGESTS)
    except PlaneError:
        return None
    config = next((file.artifact for file in files if file.path == CONFIG), None)
    return replace(
        build_data_facts(texts.version, texts.artifact.size) if texts else DataFacts(),
        base=read_config(config) if config else None,
        base_bytes=sum(file.artifact.size for file in files if file.path.endswith(TENSORS)),
    )
