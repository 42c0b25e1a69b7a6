"""The tab of a version that shows its images with their labels, or its texts with what is marked in them, in pages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict
from django.utils.safestring import SafeString

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, Unavailable
from apps.core.html import format_html, format_html_join
from apps.core.messages import translate_error
from apps.data.datasets.ingest.image_folders import IMAGE_TABLE_PATH
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.queries import find_table_file
from apps.data.datasets.rows.row_requests import RowFilter, RowRequest, read_row_request
from apps.data.datasets.rows.row_views import JSON_TYPES, RowView, read_row_view
from apps.data.datasets.versions.data_facts import find_image_params
from apps.data.datasets.versions.masked_columns import find_masked_columns
from apps.platform.artifacts.services import Damaged

DISPLAYABLE_TYPES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}  # what every browser draws
MAX_DISPLAYED_BYTES = 512 << 10
IMAGES_PER_PAGE = 48
TEXTS_PER_PAGE = 25
TEXT_CHARACTERS = 4_000  # of a text, and of its marks as JSON
TEXT_NAMES = ["text", "spans", "label", "class"]  # of JSON lines, as a training of entities reads them
CLASS_NAMES = ("label", "class")
MAX_LABELS_OFFERED = 100
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ImageSample:
    """A row of images.csv; `file` is None where the page does not draw the image."""

    number: int
    path: str
    label: str
    split: str
    size: str
    file: DatasetFile | None


@dataclass(frozen=True, slots=True)
class TextSample:
    number: int
    text: SafeString | str
    label: str
    spans: int


def has_samples(version: DatasetVersion, files: Sequence[DatasetFile]) -> bool:
    """Whether the version has the tab; `files` are the first of its files."""
    if find_image_params(version) or any(file.path == IMAGE_TABLE_PATH for file in files):
        return True
    return any(file.media_type in JSON_TYPES for file in files) or "text" in {
        str(column.get("name", "")) for column in version.columns
    }


def build_samples_tab(actor: Actor, version: DatasetVersion, query: QueryDict) -> dict[str, Any]:
    """One page of images or texts, of one label and part if the query names them."""
    policy.require(actor, "dataset.view", version)
    row_request = RowRequest()
    context: dict[str, Any] = {"personal": sorted(find_masked_columns(version)), "label": "", "split": ""}
    images = version.files.filter(path=IMAGE_TABLE_PATH).select_related("artifact").first()
    try:
        row_request = build_request(query, bool(images))
        if images is not None:
            context |= build_image_page(actor, version, images, row_request)
        else:
            context |= build_text_page(actor, version, row_request)
    except Invalid as error:
        context["wrong"] = error
    except (Damaged, Unavailable) as error:
        context["note"] = translate_error(error)
    labels = () if "label" in context["personal"] else find_image_params(version).get("classes") or {}
    return context | {
        "row_request": row_request,
        "is_images": images is not None,
        "label": query.get("label", "")[:200],
        "split": query.get("split", ""),
        "labels": [name for name in labels if name][:MAX_LABELS_OFFERED],
        "splits": SPLITS,
    }


def build_request(query: QueryDict, is_images: bool) -> RowRequest:
    """Of `q`, `after`, and for images `label` and `split`. Raises Invalid."""
    plain = QueryDict(mutable=True)
    for name in ("q", "after"):
        plain[name] = query.get(name, "")
    row_request = read_row_request(plain)
    filters = tuple(
        RowFilter(name, "eq", query[name][:200]) for name in ("label", "split") if is_images and query.get(name)
    )
    return replace(row_request, filters=filters, limit=IMAGES_PER_PAGE if is_images else TEXTS_PER_PAGE)


# -- images -----------------------------------------------------------------------------------------------------------
def build_image_page(
    actor: Actor, version: DatasetVersion, table: DatasetFile, row_request: RowRequest
) -> dict[str, Any]:
    view = read_row_view(actor, version, row_request, files=[table], max_characters=500)
    if view is None:
        return {"samples": []}
    rows = list(iter_records(view))
    files = {} if find_masked_columns(version) else find_displayable(version, [row["path"] or "" for _, row in rows])
    samples = [
        ImageSample(
            number,
            row.get("path") or "",
            row.get("label") or "",
            row.get("split") or "",
            f"{row['width']} × {row['height']}" if row.get("width") and row.get("height") else "",
            files.get(row.get("path") or ""),
        )
        for number, row in rows
    ]
    return build_page(view, samples)


def find_displayable(version: DatasetVersion, paths: Sequence[str]) -> dict[str, DatasetFile]:
    """The images among these files that a page draws, by path."""
    files = version.files.filter(
        path__in=paths, media_type__in=DISPLAYABLE_TYPES, artifact__size__lte=MAX_DISPLAYED_BYTES
    )
    return {file.path: file for file in files}


# -- texts ------------------------------------------------------------------------------------------------------------
def build_text_page(actor: Actor, version: DatasetVersion, row_request: RowRequest) -> dict[str, Any]:
    lines = version.files.filter(media_type__in=JSON_TYPES).select_related("artifact").order_by("path").first()
    table = lines or find_table_file(actor, version)
    changes: dict[str, Any] = {"max_characters": TEXT_CHARACTERS}
    if lines is not None:
        changes["names"] = TEXT_NAMES
    view = read_row_view(actor, version, row_request, files=[table] if table else [], **changes)
    if view is None:
        return {"samples": []}
    samples = []
    for number, row in iter_records(view):
        spans = parse_spans(row.get("spans"))
        label = next((row[name] for name in CLASS_NAMES if row.get(name)), "") or ""
        samples.append(TextSample(number, render_spans(row.get("text") or "", spans), label, len(spans)))
    return build_page(view, samples)


def parse_spans(text: str | None) -> list[tuple[int, int, str]]:
    """(start, end, label) of each span, in order; nothing for what is none."""
    try:
        rows = json.loads(text or "[]")
        spans = [(int(row["start"]), int(row["end"]), str(row["label"])) for row in rows]
    except (ValueError, TypeError, KeyError):
        return []
    return sorted(span for span in spans if 0 <= span[0] < span[1])


def render_spans(text: str, spans: Sequence[tuple[int, int, str]]) -> SafeString:
    """The text with each span in a `mark`, its label below; of overlapping spans the first is drawn."""
    parts: list[tuple[str]] = []
    at = 0
    for start, end, label in spans:
        if start >= at and end <= len(text):
            mark = format_html("<mark>{}<sub>{}</sub></mark>", text[start:end], label)
            parts += [(text[at:start],), (mark,)]
            at = end
    return format_html_join("", "{}", [*parts, (text[at:],)])


# -- pages ------------------------------------------------------------------------------------------------------------
def iter_records(view: RowView) -> Iterator[tuple[int, Mapping[str, str | None]]]:
    names = [column["name"] for column in view.columns]
    for row in view.rows:
        yield row.number, dict(zip(names, row.cells, strict=False))


def build_page(view: RowView, samples: Sequence[ImageSample | TextSample]) -> dict[str, Any]:
    return {"samples": samples, "view": view, "next_after": view.next}
