"""Columns that look like personal data, found in the first rows of a version; a person decides."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from apps.core import policy
from apps.core.actors import Actor
from apps.data.datasets.models import Dataset
from apps.data.datasets.queries import PREVIEW_ROWS, read_preview
from apps.data.personal_data.categories import Category
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.queries import get_newest_version

MIN_SHARE = 0.5  # of the filled cells of a column: a number may pass a check digit by chance
MIN_NAME_CELLS = 3  # short Chinese words look like names


class ColumnSuggestion(NamedTuple):
    column: str
    category: str
    cells: int  # of the filled ones that look like it
    filled: int


def suggest_columns(actor: Actor, dataset: Dataset) -> list[ColumnSuggestion]:
    """Unmarked columns of the newest version of which at least half of the previewed cells look personal."""
    policy.require(actor, "personal_data.mark", dataset)
    version = get_newest_version(dataset)
    if version is None:
        return []
    preview = read_preview(actor, version, PREVIEW_ROWS)
    marked = set(PersonalColumn.objects.filter(dataset=dataset).values_list("column", flat=True))
    suggestions = []
    for place, column in enumerate(preview.columns):
        cells = [row[place] for row in preview.rows if place < len(row) and row[place]]
        suggestion = suggest_category([str(cell) for cell in cells])
        if suggestion is not None and column not in marked:
            suggestions.append(ColumnSuggestion(column, *suggestion, len(cells)))
    return suggestions


def suggest_category(cells: list[str]) -> tuple[str, int] | None:
    """(category, number of cells) of the most frequent kind of personal data, or None."""
    from deepseek.clean.personal_data import NAME, find_personal_data

    counts = Counter(kind for cell in cells for kind in {match.kind for match in find_personal_data(cell)})
    names = sum(1 for cell in cells if NAME.fullmatch(cell))
    if names >= MIN_NAME_CELLS:
        counts[Category.NAME.value] = names
    counts[Category.EMAIL.value] = sum(1 for cell in cells if "@" in cell[1:] and "." in cell.rpartition("@")[2])
    category, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return (category, count) if count and count >= MIN_SHARE * len(cells) else None
