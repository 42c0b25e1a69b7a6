"""The file tree of runs and logged models: validate paths, find their owners, list folders. Read-only.

A path is text in a column, never a path of this machine. Folders are only the beginnings of paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote

from django.db.models import Case, CharField, F, IntegerField, Max, Q, QuerySet, Value, When
from django.db.models.functions import StrIndex, Substr

from apps.core.actors import Actor
from apps.core.db.fast_sql import fetch
from apps.core.errors import Invalid, NotFound
from apps.core.lists.pages import BACKWARD, FORWARD, Page, build_cursor_error, encode_cursor, parse_memory_cursor
from apps.core.policy import require
from apps.core.portable_paths import find_path_defect
from apps.ml.experiments.models import LoggedModel, LoggedModelArtifact, Run, RunArtifact
from apps.platform.accounts.models import Project
from deepseek.messages import N_

PATH_LENGTH = 500
FOLDER_PAGE = 1000  # names of a folder in one answer of a list that is paged
FOLDERS, FILES = 0, 1  # the parts of a folder's page, in their order
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
PLACE = re.compile(
    r"(?:(?P<root>.*?)/)?(?:(?P<run>[0-9a-f]{32})|models/(?P<model>m-[0-9a-f]{32}))/artifacts(?:/(?P<path>.*))?",
    re.DOTALL,
)
VERSION_PLACE = re.compile(r"registry/(?P<version>[1-9]\d{0,17})(?:/(?P<path>.*))?", re.DOTALL)

Owner = Run | LoggedModel
FileRow = RunArtifact | LoggedModelArtifact
OF_RUN, OF_MODEL = ("experiments_runartifact", "run_id"), ("experiments_loggedmodelartifact", "model_id")
FIRST_PART = Substr(
    "rest", 1, F("slash") - 1, output_field=CharField()
)  # of `annotate_relative_paths`: the name of a folder
FileRows = QuerySet[Any]  # of RunArtifact, LoggedModelArtifact or another table of paths


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPlace:
    """Where a path of the artifact store leads: to a file or folder of a run, a logged model or a model version."""

    root: str = ""  # of the experiment
    run: str = ""
    model: str = ""
    version: int | None = None  # the key of a model version: its files as they were when it was made
    path: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder; `size` in bytes, of files only."""

    name: str
    is_folder: bool
    size: int


# -- paths ----------------------------------------------------------------------------------------------------------
def normalize_path(path: str) -> str:
    """A relative path, as it was sent, without empty parts; Invalid ("Invalid path") for one that would lead elsewhere.

    As the reference server: read with all its percent-encodings undone, however many, and refused where that has `..`,
    `#`, begins at a root or with a scheme. The length comes first: each undoing reads all that is left.
    """
    if len(path) > PATH_LENGTH:
        raise Invalid(
            "The path has {count} characters.",
            count=len(path),
            code="bad_path",
            field="path",
            limit=PATH_LENGTH,
            hint=N_("Use shorter names, or fewer folders."),
        )
    decoded = path
    while (next_one := unquote(decoded)) != decoded:
        decoded = next_one
    leads_away = (
        ".." in decoded.split("/")
        or "#" in decoded
        or SCHEME.match(decoded) is not None
        or PurePosixPath(decoded).is_absolute()
        or PureWindowsPath(decoded).is_absolute()
    )
    if leads_away or "\0" in decoded:
        raise Invalid(
            "Invalid path",
            code="bad_path",
            field="path",
            limit="relative, without .. and #",
            hint=N_("For instance plots/loss.png."),
        )
    return "/".join(part for part in path.split("/") if part not in {"", "."})


def check_new_path(path: str) -> None:
    """Raise Invalid for a path that a client could take for another, or show as another: no file gets such a name.

    What was stored before under one is still read, listed and deleted.
    """
    if defect := find_path_defect(path):
        raise Invalid(
            "Invalid path: {path!r} {defect}.",
            path=path[:80],
            defect=defect,
            code="bad_path",
            field="path",
            limit="forward slashes, visible characters, names that Windows keeps",
            hint=N_("For instance plots/loss.png."),
        )


def parse_place(path: str) -> ArtifactPlace | None:
    """Whose a path is, by its form alone; None for one of nobody."""
    if match := VERSION_PLACE.fullmatch(path):
        return ArtifactPlace(version=int(match["version"]), path=match["path"] or "")
    match = PLACE.fullmatch(path)
    if match is None:
        return None
    return ArtifactPlace(
        root=match["root"] or "", run=match["run"] or "", model=match["model"] or "", path=match["path"] or ""
    )


def find_owner(actor: Actor, project: Project, place: ArtifactPlace) -> Owner | None:
    """The run or the logged model of a place; None where the project has none such. One query."""
    require(actor, "run.view", project)
    rows: QuerySet[Run] | QuerySet[LoggedModel]
    if place.run:
        rows = Run.objects.visible_to(actor).filter(pk=place.run).defer("environment", "figures")
    else:
        rows = LoggedModel.objects.visible_to(actor).filter(pk=place.model)
    owner: Owner | None = rows.select_related("experiment").filter(project=project).first()
    if owner is None or place.root != get_root(owner):
        return None
    owner.project = project
    return owner


def get_root(owner: Owner) -> str:
    """The first part of the path of an owner's folder: the number of its experiment, or what a client chose instead."""
    chosen = owner.experiment.artifact_location
    return chosen.partition(":")[2].strip("/") if chosen else str(owner.experiment.number)


def get_artifact_uri(owner: Owner) -> str:
    """Where clients find the files of a run or a logged model."""
    chosen = owner.experiment.artifact_location.rstrip("/")
    folder = owner.pk if isinstance(owner, Run) else f"models/{owner.pk}"
    return f"{chosen or f'mlflow-artifacts:/{owner.experiment.number}'}/{folder}/artifacts"


# -- files ----------------------------------------------------------------------------------------------------------
def list_files(owner: Owner) -> FileRows:
    if isinstance(owner, Run):
        return RunArtifact.objects.filter(run=owner)
    return LoggedModelArtifact.objects.filter(model=owner)


def filter_below(rows: FileRows, folder: str) -> FileRows:
    """Those of the files whose paths begin with a folder; "" is the root. SQLite's LIKE takes a for A, so both ask."""
    if not folder:
        return rows
    head = f"{folder}/"
    beginning = Substr("path", 1, len(head), output_field=CharField())
    matches: FileRows = rows.annotate(beginning=beginning).filter(path__startswith=head, beginning=head)
    return matches


def list_files_below(owner: Owner, folder: str, limit: int) -> list[tuple[str, str, int, str]]:
    """(path below the folder, digest, size, media type) of at most `limit` files; one query."""
    table, key = OF_RUN if isinstance(owner, Run) else OF_MODEL
    head = f"{folder}/" if folder else ""
    where, params = "", []
    if head:  # as in `filter_below`
        where = r"AND path LIKE %s ESCAPE '\' AND SUBSTR(path, 1, %s) = %s"
        params = [re.sub(r"([%_\\])", r"\\\1", head) + "%", len(head), head]
    sql = f"SELECT path, artifact_id, size, media_type FROM {table} WHERE {key} = %s {where} ORDER BY path LIMIT %s"  # noqa: S608 - names of the code's own
    return [(path[len(head) :], *rest) for path, *rest in fetch(sql, [owner.pk, *params, limit])]


def find_file(owner: Owner, path: str) -> FileRow | None:
    """Return the file at exactly this path, with its artifact, or None."""
    artifact: FileRow | None = list_files(owner).select_related("artifact").filter(path=path).first()
    return artifact


def list_entries(rows: FileRows, folder: str, *, after: str = "", limit: int | None = None) -> list[Entry]:
    """The names that lie directly in a folder, in order, `after` a name; grouped by the database, in one query.

    Nothing where it is a file, or nothing at all.
    """
    name = Case(When(slash__gt=0, then=FIRST_PART), default=F("rest"), output_field=CharField())
    files = annotate_relative_paths(rows, folder).annotate(name=name)
    if after:
        files = files.filter(name__gt=after)
    entries = files.order_by().values("name").annotate(deep=Max("slash"), bytes=Max("size")).order_by("name")
    return [
        Entry(row["name"], row["deep"] > 0, 0 if row["deep"] else row["bytes"])
        for row in (entries if limit is None else entries[:limit])
    ]


def annotate_relative_paths(rows: FileRows, folder: str) -> FileRows:
    """The files below a folder with `rest`, their path from there, and `slash`, where a folder in that ends, or 0."""
    rest = Substr("path", len(folder) + 2 if folder else 1, output_field=CharField())
    slash = StrIndex(F("rest"), Value("/"), output_field=IntegerField())
    files: FileRows = filter_below(rows, folder).annotate(rest=rest).annotate(slash=slash)
    return files


def paginate_folder(
    rows: FileRows, folder: str, *, cursor: str | None = None, limit: int
) -> Page[tuple[str, FileRow | None]]:
    """(name, file; None for a folder) of what lies directly in a folder: its folders, then its files, each by name.

    Two queries, which give no more names than are shown; to tell folders apart the database goes through all that lies
    below this one. Raises Malformed for a cursor that is not ours.
    """
    direction, edge, start_part = parse_memory_cursor("folder", cursor) if cursor else (FORWARD, "", FOLDERS)
    if start_part not in (FOLDERS, FILES):
        raise build_cursor_error(cursor or "")
    backward = direction == BACKWARD
    names: list[tuple[str, FileRow | None]] = []
    for part in range(start_part, -1, -1) if backward else range(start_part, FILES + 1):
        list_part = list_folder_names if part == FOLDERS else list_folder_files
        names += list_part(rows, folder, edge if part == start_part else "", backward, limit + 1 - len(names))
    more, items = len(names) > limit, names[:limit]
    if backward:
        items.reverse()
    has_next, has_previous = (True, more) if backward else (more, bool(cursor))
    return Page(
        items,
        encode_cursor([FORWARD, "folder", *get_page_position(items[-1])]) if items and has_next else None,
        encode_cursor([BACKWARD, "folder", *get_page_position(items[0])]) if items and has_previous else None,
    )


def list_folder_names(
    rows: FileRows, folder: str, edge: str, backward: bool, limit: int
) -> list[tuple[str, FileRow | None]]:
    """The folders in a folder behind the name `edge`, in the order that is walked."""
    folders = annotate_relative_paths(rows, folder).filter(slash__gt=0).annotate(name=FIRST_PART)
    if edge:
        folders = folders.filter(**{"name__lt" if backward else "name__gt": edge})
    names = folders.order_by("-name" if backward else "name").values_list("name", flat=True).distinct()
    return [(name, None) for name in names[:limit]]


def list_folder_files(
    rows: FileRows, folder: str, edge: str, backward: bool, limit: int
) -> list[tuple[str, FileRow | None]]:
    """The files in a folder, likewise."""
    head = f"{folder}/" if folder else ""
    files = annotate_relative_paths(rows, folder).filter(slash=0)
    if edge:
        files = files.filter(**{"path__lt" if backward else "path__gt": head + edge})
    return [(file.path[len(head) :], file) for file in files.order_by("-path" if backward else "path")[:limit]]


def get_page_position(item: tuple[str, FileRow | None]) -> tuple[str, int]:
    return item[0], FOLDERS if item[1] is None else FILES


def find_path_conflict(owner: Owner, path: str) -> str:
    """A file that is a folder of this path, or "" ; and the path itself where it is a folder already. One query."""
    parents = list(iter_parents(path))
    head = f"{path}/"
    rows = list_files(owner).annotate(beginning=Substr("path", 1, len(head), output_field=CharField()))
    conflicts = rows.filter(Q(path__in=parents) | Q(path__startswith=head, beginning=head)).values_list(
        "path", flat=True
    )
    return conflicts.first() or ""


def iter_parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])


# -- logged models --------------------------------------------------------------------------------------------------
def get_logged_model(actor: Actor, project: Project, model_id: str) -> LoggedModel:
    """A logged model with its experiment, or NotFound; also for one that was deleted."""
    require(actor, "run.view", project)
    rows = LoggedModel.objects.visible_to(actor).select_related("experiment")
    model = rows.filter(pk=model_id, project=project, deleted_at=None).first()
    if model is None:
        raise NotFound(
            "Logged model with ID '{model_id}' not found.",
            model_id=model_id[:40],
            field="model_id",
            hint=N_("Search the logged models of the experiment."),
        )
    return model
