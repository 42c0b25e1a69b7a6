"""Template context for the files of a run or a logged model: a flat list if there are few, else one folder at a time.

And a look into the one that the query names.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.lists.pages import Page, is_storable, parse_limit
from apps.ml.experiments.files import previews
from apps.ml.experiments.files.tree import PATH_LENGTH, FileRows, Owner, iter_parents, list_files, paginate_folder
from deepseek.messages import N_

FEW = 30  # files that are listed with their folders before them; of more a folder at a time is shown


def build_files_context(request: HttpRequest, actor: Actor, owner: Owner) -> dict[str, Any]:
    """What lies in the folder that the query names, or all where there are few; and of the file that it names what can
    be shown of it.

    A file without a folder is shown beside what lies in its own.
    """
    policy.require(actor, "run.view", owner)
    rows = list_files(owner)
    preview_path = request.GET.get("preview", "")
    preview = previews.build_preview(actor, owner, preview_path) if preview_path else None
    few = list_few_files(request, rows)
    folder = "" if few else request.GET.get("folder", preview_path.rpartition("/")[0]).strip("/")
    page: Page[Any] = few or get_folder_page(request, rows, folder)
    head = f"{folder}/" if folder else ""
    listed = [
        {"name": name, "path": head + name, "one": file, "kind": previews.get_preview_kind(file) if file else "folder"}
        for name, file in page.items
    ]
    above = [{"name": path.rpartition("/")[2], "path": path} for path in iter_parents(folder)]
    context = {"rows": listed, "page": page, "folder": folder, "folder_name": folder.rpartition("/")[2], "above": above}
    return context | {"preview": preview, "text_limit": previews.TEXT_LIMIT}


def list_few_files(request: HttpRequest, rows: FileRows) -> Page[Any] | None:
    """(path, file) of all where they are few and the query asks for no part of them."""
    if {"folder", "cursor", "limit"} & request.GET.keys():
        return None
    files = list(rows.order_by("path")[: FEW + 1])
    return None if len(files) > FEW else Page([(file.path, file) for file in files], None, None)


def get_folder_page(request: HttpRequest, rows: FileRows, folder: str) -> Page[Any]:
    """What the query asks for of a folder of these files; NotFound where nothing lies below it."""
    cursor, limit = request.GET.get("cursor") or None, parse_limit(request.GET.get("limit"))
    is_valid = len(folder) <= PATH_LENGTH and is_storable(folder)
    page = paginate_folder(rows, folder, cursor=cursor, limit=limit) if is_valid else None
    if page is None or (folder and not page.items and not cursor):
        raise NotFound("No such folder is here.", field="folder", hint=N_("Choose one of the list."))
    return page
