"""Columns whose cells pages and previews do not show; apps above know which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from apps.core.registry import Registry
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import RowPreview
from apps.data.datasets.versions.row_pages import RowPage
from deepseek.tables.redaction import REDACTED

MASKED_COLUMNS: Registry[Callable[[DatasetVersion], set[str]]] = Registry("MASKED_COLUMNS")
"""By app: (version) -> names of its columns that are hidden."""
Rows = TypeVar("Rows", RowPreview, RowPage)


def find_masked_columns(version: DatasetVersion) -> set[str]:
    return set().union(*(find(version) for find in MASKED_COLUMNS.values()))


def mask_rows(version: DatasetVersion, preview: Rows) -> Rows:
    """The rows with REDACTED for every filled cell of a masked column."""
    masked = find_masked_columns(version)
    places = {place for place, name in enumerate(preview.columns) if name in masked}
    if not places:
        return preview
    rows = [
        [REDACTED if cell is not None and place in places else cell for place, cell in enumerate(row)]
        for row in preview.rows
    ]
    return replace(preview, rows=rows)
