"""The files of a run or a logged model as its page shows them: all where they are few, else a folder at a time.

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
from apps.ml.experiments.files.tree import PATH_LENGTH, FileRows, Owner, files_of, page_of_folder, parents_of
from deepseek.messages import N_

FEW = 30  # files that are listed with their folders before them; of more a folder at a time is shown


def files_context(request: HttpRequest, actor: Actor, owner: Owner) -> dict[str, Any]:
    """What lies in the folder that the query names, or all where there are few; and of the file that it names what can
    be shown of it.

    A file without a folder is shown beside what lies in its own.
    """
    policy.require(actor, "run.view", owner)
    rows = files_of(owner)
    asked = request.GET.get("preview", "")
    preview = previews.preview_of(actor, owner, asked) if asked else None
    few = few_files(request, rows)
    folder = "" if few else request.GET.get("folder", asked.rpartition("/")[0]).strip("/")
    page: Page[Any] = few or folder_page(request, rows, folder)
    head = f"{folder}/" if folder else ""
    listed = [
        {"name": name, "path": head + name, "one": one, "kind": previews.kind_of(one) if one else "folder"}
        for name, one in page.items
    ]
    above = [{"name": path.rpartition("/")[2], "path": path} for path in parents_of(folder)]
    context = {"rows": listed, "page": page, "folder": folder, "folder_name": folder.rpartition("/")[2], "above": above}
    return context | {"preview": preview, "text_limit": previews.TEXT_LIMIT}


def few_files(request: HttpRequest, rows: FileRows) -> Page[Any] | None:
    """(path, file) of all where they are few and the query asks for no part of them."""
    if {"folder", "cursor", "limit"} & request.GET.keys():
        return None
    found = list(rows.order_by("path")[: FEW + 1])
    return None if len(found) > FEW else Page([(one.path, one) for one in found], None, None)


def folder_page(request: HttpRequest, rows: FileRows, folder: str) -> Page[Any]:
    """What the query asks for of a folder of these files; NotFound where nothing lies below it."""
    cursor, limit = request.GET.get("cursor") or None, parse_limit(request.GET.get("limit"))
    known = len(folder) <= PATH_LENGTH and is_storable(folder)
    page = page_of_folder(rows, folder, cursor=cursor, limit=limit) if known else None
    if page is None or (folder and not page.items and not cursor):
        raise NotFound("No such folder is here.", field="folder", hint=N_("Choose one of the list."))
    return page
