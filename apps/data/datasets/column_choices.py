"""The columns of a table as choices of a form, with their types and shares of missing cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.core.cache import cache
from django.utils.translation import gettext as _

from apps.core.errors import PlaneError
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.presenters import NUMBER_TYPES
from apps.data.datasets.queries import MAX_REPORT_BYTES, read_first_bytes
from apps.platform.jobs.specforms.fields import FormItem, ListOption, flatten_items
from apps.platform.jobs.table_columns import TEXT_TYPES

MAX_COLUMNS_OFFERED = 500
CACHE_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a version; `missing`: share of missing cells, None if it was never profiled."""

    name: str
    dtype: str
    missing: float | None = None

    @property
    def summary(self) -> str:
        """Its type and, if known, its share of missing cells."""
        if self.missing is None:
            return self.dtype
        params = {"dtype": self.dtype, "share": f"{100 * self.missing:.3g}"}
        return _("%(dtype)s, %(share)s %% missing") % params if self.missing else _("%(dtype)s, none missing") % params

    @property
    def is_number(self) -> bool:
        return self.dtype.startswith(NUMBER_TYPES)

    @property
    def is_learnable(self) -> bool:
        """Whether a model can learn from it: numbers, true and false as 1 and 0, and text as categories."""
        return self.is_number or self.dtype.startswith(("decimal", "bool", *TEXT_TYPES))

    @property
    def is_category(self) -> bool:
        """Whether its values may be categories: text, true and false, and whole numbers."""
        return self.dtype.startswith(("int", "uint", "bool", *TEXT_TYPES))


def list_columns(version: DatasetVersion) -> list[TableColumn]:
    """The first columns of a version, with what its quality report measured of them."""
    missing = get_missing_share_by_column(version.quality_id)
    columns = []
    for column in version.columns[:MAX_COLUMNS_OFFERED]:
        name = str(column.get("name"))
        columns.append(TableColumn(name, str(column.get("dtype") or ""), missing.get(name)))
    return columns


def get_missing_share_by_column(report: str | None) -> Mapping[str, float]:
    """{column: share of missing cells} of a quality report, from the cache: a report never changes."""
    if report is None:
        return {}
    key = f"missing-by-column:{report}"
    cached: dict[str, float] | None = cache.get(key)
    if cached is None:
        cached = read_missing_shares(report)
        cache.set(key, cached, CACHE_SECONDS)
    return cached


def read_missing_shares(report: str) -> dict[str, float]:
    try:
        data, is_complete = read_first_bytes(report, MAX_REPORT_BYTES)
        columns = json.loads(data).get("columns") or [] if is_complete else []
        return {str(column["name"]): float(column["missing_share"]) for column in columns[:MAX_COLUMNS_OFFERED]}
    except (PlaneError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a report of another make: the form does without


def build_column_choices(columns: list[TableColumn], fits: Callable[[TableColumn], bool]) -> list[ListOption]:
    """The columns as choices of a multi-select."""
    return [ListOption(column.name, column.summary, fits(column)) for column in columns]


def offer_column(items: list[FormItem], pointer: str, columns: list[TableColumn]) -> None:
    """Let the text field at `pointer` be a choice of the table's columns with their types, where these are known."""
    item = next((each for each in flatten_items(items) if each.pointer == pointer), None)
    if item is None or not columns:
        return
    names = {column.name for column in columns}
    item.control, item.datalist, item.limit = "select", "", ""
    item.choices = [("", _("Choose a column"))]
    item.choices += [(column.name, f"{column.name} ({column.summary})") for column in columns]
    if item.value and item.value not in names:
        item.choices.append((item.value, _("%(name)s: not in this table") % {"name": item.value}))
