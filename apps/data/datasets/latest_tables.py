"""The newest tables of a project, as forms and pages offer them."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.data.datasets.models import Dataset, DatasetFile
from apps.data.datasets.queries import IS_TABLE_FILE
from apps.platform.accounts.models import Project

MAX_TABLES_OFFERED = 200  # newest first; what is older is named by its digest


def list_latest_tables(actor: Actor, project: Project) -> list[DatasetFile]:
    """The tables of the newest versions, each digest once under its newest name. One query."""
    return drop_duplicate_digests(query_tables(actor, project)[:MAX_TABLES_OFFERED])


def list_latest_files(actor: Actor, project: Project, media_types: Sequence[str]) -> list[DatasetFile]:
    """The files of these types of the newest versions, each digest once under its newest name. One query."""
    files = query_files(actor, project, Q(media_type__in=media_types))
    return drop_duplicate_digests(files[:MAX_TABLES_OFFERED])


def find_table(actor: Actor, project: Project, digest: str) -> DatasetFile | None:
    """The table with this digest under its newest name, however old; None where the project has none. Of a table of
    parts it is the first of them."""
    named = Q(artifact=digest) | Q(version__digest=digest, version__parts__gt=0)
    return query_tables(actor, project).filter(named).first() if digest else None


def find_column_types(actor: Actor, project: Project, digest: str) -> dict[str, str]:
    """{column: type} of the table with this digest; empty where the project has none, or they are not known."""
    file = find_table(actor, project, digest) or query_files(actor, project, Q(artifact=digest)).first()
    columns = file.version.columns if file else []
    return {str(column.get("name")): str(column.get("dtype") or "") for column in columns}


def query_tables(actor: Actor, project: Project):  # type: ignore[no-untyped-def]  # a queryset of DatasetFile
    """Files that are tables; of a table of parts its first part, which stands for all."""
    parts = DatasetFile.objects.filter(version=OuterRef("version")).order_by("path")
    return query_files(actor, project, IS_TABLE_FILE).filter(
        Q(version__parts=0) | Q(pk=Subquery(parts.values("pk")[:1]))
    )


def query_files(actor: Actor, project: Project, which: Q):  # type: ignore[no-untyped-def]  # as above
    visible = Dataset.objects.visible_to(actor).filter(project=project)
    files = DatasetFile.objects.filter(which, version__dataset__in=visible)
    return (
        files.select_related("version__dataset", "artifact").defer("version__manifest").order_by("-version_id", "path")
    )


def drop_duplicate_digests(files: list[DatasetFile]) -> list[DatasetFile]:
    newest: dict[str, DatasetFile] = {}
    for file in files:
        newest.setdefault(file.table_digest, file)
    return list(newest.values())


def format_table_label(file: DatasetFile) -> str:
    rows = f"{file.version.rows:,}" if file.version.rows is not None else "?"
    return _("%(version)s, %(rows)s rows") % {"version": str(file.version), "rows": rows}


def format_file_label(file: DatasetFile) -> str:
    return f"{file.version} · {file.path}"
