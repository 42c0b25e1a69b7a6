"""Rows that runs, logged models and registered models have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models

from apps.platform.artifacts.bulk_sql import Stored

File = tuple[str, Stored]
"""The path of a file of a run or a model, and its bytes, which are in the store and held by the project."""


def add_texts(table: Any, owner: Mapping[str, models.Model], texts: Mapping[str, str]) -> int:
    """Rows (key, value) of `owner` for the keys that it does not have; how many."""
    existing_keys = set(table.objects.filter(**owner).values_list("key", flat=True))
    rows = [table(**owner, key=key, value=value) for key, value in texts.items() if key not in existing_keys]
    table.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def build_artifact_rows(table: Any, owner: Mapping[str, models.Model], files: Iterable[File]) -> list[Any]:
    return [
        table(**owner, path=path, artifact_id=stored.digest, size=stored.size, media_type=stored.media_type)
        for path, stored in files
    ]
