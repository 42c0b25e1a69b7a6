"""The pages of the index as installers read them (PEP 503, 592, 658, 691, 700), rendered once for each change.

A page is kept in the memory of the process under the serial of what it shows, so a request costs one query by a key.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from packaging.version import Version

from apps.site.mirror.models import IndexSerial, Package, PackageFile
from apps.site.mirror.negotiation import JSON_V1

API_VERSION = "1.1"
MAX_CACHED_BYTES = 64 << 20  # of a process
HEAD = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta name="pypi:repository-version" content="{API_VERSION}">\n<title>{{title}}</title>\n</head>\n<body>\n'
)
FOOT = "</body>\n</html>\n"


@dataclass(frozen=True, slots=True)
class SimplePage:
    body: bytes
    etag: str


class PageCache:
    """Pages by (what, form); one whose stamp differs is rendered anew. The least used go first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.pages: OrderedDict[tuple[str, str], SimplePage] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: tuple[str, str], stamp: str, render: Callable[[], str]) -> SimplePage:
        etag = f'"{stamp}-{"json" if key[1] == JSON_V1 else "html"}"'
        with self.lock:
            page = self.pages.get(key)
            if page is not None and page.etag == etag:
                self.pages.move_to_end(key)
                return page
        page = SimplePage(render().encode(), etag)
        with self.lock:
            former = self.pages.pop(key, None)
            self.size += len(page.body) - (len(former.body) if former else 0)
            self.pages[key] = page
            while self.size > self.limit and len(self.pages) > 1:
                self.size -= len(self.pages.popitem(last=False)[1].body)
        return page


_cache = PageCache(MAX_CACHED_BYTES)


def get_root_page(form: str) -> SimplePage:
    """The names of all packages."""
    row = IndexSerial.objects.values_list("serial", "changed_at").first()
    stamp = build_stamp(*row) if row and row[1] else "0"
    render = render_root_json if form == JSON_V1 else render_root_html
    return _cache.get(("", form), stamp, render)


def get_project_page(name: str, form: str) -> SimplePage | None:
    """The files of one package; None where there is no such."""
    row = Package.objects.filter(name=name).values_list("pk", "serial", "changed_at").first()
    if row is None:
        return None
    render = render_project_json if form == JSON_V1 else render_project_html
    return _cache.get((name, form), f"{row[0]}-{build_stamp(*row[1:])}", lambda: render(name, list_files(row[0])))


def build_stamp(serial: int, changed_at: Any) -> str:
    """Differs after each change, and after a backup was restored that has seen fewer of them."""
    return f"{serial}-{int(changed_at.timestamp() * 1e6):x}"


def list_files(package_id: int) -> list[PackageFile]:
    """The files by version, oldest first."""
    rows = PackageFile.objects.filter(version__package=package_id).select_related("version", "artifact")
    return sorted(rows, key=lambda file: (Version(file.version.version), file.filename))


# -- the list of names ----------------------------------------------------------------------------------------------
def render_root_json() -> str:
    names = Package.objects.order_by("name").values_list("name", flat=True)
    serial = IndexSerial.objects.values_list("serial", flat=True).first() or 0
    meta = {"api-version": API_VERSION, "_last-serial": serial}
    return json.dumps({"meta": meta, "projects": [{"name": name} for name in names]}, separators=(",", ":"))


def render_root_html() -> str:
    names = Package.objects.order_by("name").values_list("name", flat=True)
    anchors = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in names)  # normalised: nothing to escape
    return f"{HEAD.format(title='Simple index')}{anchors}{FOOT}"


# -- one package ----------------------------------------------------------------------------------------------------
def render_project_json(name: str, files: list[PackageFile]) -> str:
    versions = list(dict.fromkeys(file.version.version for file in files))
    document = {
        "meta": {"api-version": API_VERSION},
        "name": name,
        "versions": versions,
        "files": [build_json_file(file) for file in files],
    }
    return json.dumps(document, separators=(",", ":"))


def build_json_file(file: PackageFile) -> dict[str, Any]:
    metadata: Any = {"sha256": file.metadata_id} if file.metadata_id else False
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": quote(file.filename),
        "hashes": {"sha256": file.artifact_id},
        "size": file.artifact.size,
        "upload-time": file.uploaded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "yanked": (file.version.yank_reason or True) if file.version.yanked_at else False,
        "core-metadata": metadata,
        "dist-info-metadata": metadata,
    }
    if file.requires_python:
        entry["requires-python"] = file.requires_python
    return entry


def render_project_html(name: str, files: list[PackageFile]) -> str:
    anchors = "".join(map(render_anchor, files))
    return f"{HEAD.format(title=f'Links for {name}')}<h1>Links for {name}</h1>\n{anchors}{FOOT}"


def render_anchor(file: PackageFile) -> str:
    attributes = [("href", f"{quote(file.filename)}#sha256={file.artifact_id}")]
    if file.requires_python:
        attributes.append(("data-requires-python", file.requires_python))
    if file.version.yanked_at:
        attributes.append(("data-yanked", file.version.yank_reason))
    if file.metadata_id:
        attributes.append(("data-core-metadata", f"sha256={file.metadata_id}"))
        attributes.append(("data-dist-info-metadata", f"sha256={file.metadata_id}"))
    text = " ".join(f'{key}="{escape(value)}"' for key, value in attributes)
    return f"<a {text}>{escape(file.filename)}</a><br>\n"
