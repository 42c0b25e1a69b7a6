"""What is known of a version's data before a job reads it: rows, columns and bytes, for the estimate of its memory."""

from __future__ import annotations

from collections.abc import Collection

from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.presenters import NUMBER_TYPES
from apps.platform.accounts.models import Project
from deepseek.fit.memory import DataFacts

MAX_DIGESTS = 500  # of a version of many files the first tell as much as all
LEARNABLE_TYPES = (*NUMBER_TYPES, "decimal", "bool")


def find_data_facts(project: Project, digests: Collection[str]) -> DataFacts | None:
    """Of the newest version of the project that has one of these files; None where none has. One query."""
    files = DatasetFile.objects.filter(
        artifact__in=list(digests)[:MAX_DIGESTS], version__dataset__project=project, version__deleted_at=None
    )
    file = files.select_related("version", "artifact").defer("version__manifest").order_by("-version_id").first()
    return build_data_facts(file.version, file.artifact.size) if file else None


def build_data_facts(version: DatasetVersion, file_bytes: int) -> DataFacts:
    types = [str(column.get("dtype") or "") for column in version.columns]
    return DataFacts(
        rows=version.rows,
        columns=len(types) or None,
        number_columns=sum(dtype.startswith(LEARNABLE_TYPES) for dtype in types) if types else None,
        file_bytes=file_bytes,
    )
