"""What forms offer: the newest tables of a project, and the columns of one with their types and missing shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.core.cache import cache
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.datasets.queries import OF_TABLES, REPORT_BYTES, first_bytes
from apps.platform.accounts.models import Project
from apps.platform.jobs.specforms.fields import ListOption

FILES_OFFERED = 200  # newest first; what is older is named by its digest
COLUMNS_OFFERED = 500
KEPT_SECONDS = 30 * 86_400
NUMBERS = ("int", "uint", "double", "float", "halffloat")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the version names it; `missing`: share of its cells, None where nothing has measured it."""

    name: str
    dtype: str
    missing: float | None = None

    @property
    def told(self) -> str:
        """Its type and, where it is known, how much of it is missing."""
        if self.missing is None:
            return self.dtype
        told = {"dtype": self.dtype, "share": f"{100 * self.missing:.3g}"}
        return _("%(dtype)s, %(share)s %% missing") % told if self.missing else _("%(dtype)s, none missing") % told

    @property
    def is_number(self) -> bool:
        return self.dtype.startswith(NUMBERS)

    @property
    def is_learnable(self) -> bool:
        """Whether a model can learn from it: numbers, and true and false as 1 and 0."""
        return self.is_number or self.dtype.startswith(("decimal", "bool"))


def offered(actor: Actor, project: Project) -> list[DatasetFile]:
    """The tables of the newest versions, each digest once under its newest name. One query."""
    return once_each(tables_of(actor, project)[:FILES_OFFERED])


def table_named(actor: Actor, project: Project, digest: str) -> DatasetFile | None:
    """The table with this digest under its newest name, however old; None where the project has none."""
    return tables_of(actor, project).filter(artifact=digest).first() if digest else None


def tables_of(actor: Actor, project: Project):  # type: ignore[no-untyped-def]  # a queryset of DatasetFile
    visible = Dataset.objects.visible_to(actor).filter(project=project)
    found = DatasetFile.objects.filter(OF_TABLES, version__dataset__in=visible)
    return (
        found.select_related("version__dataset", "artifact").defer("version__manifest").order_by("-version_id", "path")
    )


def once_each(files: list[DatasetFile]) -> list[DatasetFile]:
    once: dict[str, DatasetFile] = {}
    for file in files:
        once.setdefault(file.artifact_id, file)
    return list(once.values())


def label_of(file: DatasetFile) -> str:
    rows = f"{file.version.rows:,}" if file.version.rows is not None else "?"
    return _("%(version)s, %(rows)s rows") % {"version": str(file.version), "rows": rows}


def columns_of(version: DatasetVersion) -> list[Column]:
    """The first columns of a version, with what its quality report measured of them."""
    missing = missing_by_column(version.quality_id)
    found = []
    for column in version.columns[:COLUMNS_OFFERED]:
        name = str(column.get("name"))
        found.append(Column(name, str(column.get("dtype") or ""), missing.get(name)))
    return found


def missing_by_column(report: str | None) -> Mapping[str, float]:
    """{column: share of missing cells} of a quality report, from the cache: a report never changes."""
    if report is None:
        return {}
    key = f"missing-by-column:{report}"
    kept: dict[str, float] | None = cache.get(key)
    if kept is None:
        kept = read_missing(report)
        cache.set(key, kept, KEPT_SECONDS)
    return kept


def read_missing(report: str) -> dict[str, float]:
    try:
        data, whole = first_bytes(report, REPORT_BYTES)
        columns = json.loads(data).get("columns") or [] if whole else []
        return {str(one["name"]): float(one["missing_share"]) for one in columns[:COLUMNS_OFFERED]}
    except (PlaneError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a report of another make: the form does without


def offers_of(columns: list[Column], fits: Callable[[Column], bool]) -> list[ListOption]:
    """The columns as a list of texts is picked from them."""
    return [ListOption(column.name, column.told, fits(column)) for column in columns]
