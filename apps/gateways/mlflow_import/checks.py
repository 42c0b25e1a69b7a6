"""What a source may hold that no column here takes: named before anything of it is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from apps.core.errors import Invalid
from apps.core.portable_paths import find_path_defect
from apps.gateways.mlflow_import.source_records import (
    FoundExperiment,
    FoundLoggedModel,
    FoundRegisteredModel,
    FoundRun,
    FoundVersion,
    Unreadable,
    moment,
)
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point
from apps.ml.registry.services.validation import check_any_name

RUN_ID, MODEL_ID = re.compile(r"[0-9a-f]{32}"), re.compile(r"m-[0-9a-f]{32}")
KEY, NAME, PATH = 250, 500, 500  # characters


def check_experiment(found: FoundExperiment) -> None:
    check_name("name", found.name, NAME)
    check_texts("tag", found.tags)
    check_times(found.created, found.updated)


def check_run(found: FoundRun) -> None:
    if not RUN_ID.fullmatch(found.id):
        raise Unreadable("its id is not of 32 hex digits")
    check_texts("param", found.params)
    check_texts("tag", found.tags)
    check_plain("name", found.name)
    check_plain("user", found.user)
    check_times(found.started, found.ended)
    for data in found.datasets:
        check_name("dataset", data.name, NAME)
        check_name("digest of a dataset", data.digest, 36)
        check_name("source type of a dataset", data.source_type, 36, empty=True)
        check_texts("tag of a dataset", data.tags)
        for text in (data.source, data.schema, data.profile):
            check_plain("dataset", text)


def check_logged_model(found: FoundLoggedModel) -> None:
    if not MODEL_ID.fullmatch(found.id):
        raise Unreadable("its id is not m- and 32 hex digits")
    check_name("name", found.name, NAME)
    check_name("type", found.model_type, NAME, empty=True)
    check_texts("param", found.params)
    check_texts("tag", found.tags)
    check_times(found.created, found.updated, *(each.at for each in found.metrics))
    for each in found.metrics:
        check_name("metric", each.key, KEY)
        check_name("dataset", each.dataset_name, NAME, empty=True)
        check_name("digest of a dataset", each.dataset_digest, 36, empty=True)


def check_registered(found: FoundRegisteredModel) -> None:
    check_plain("name", found.name)
    check_any_name(found.name)
    check_plain("description", found.description)
    check_texts("tag", found.tags)
    check_times(found.created, found.updated)


def check_version(found: FoundVersion) -> None:
    if not 0 < found.number < 2**31:
        raise Unreadable(f"{found.number} is no number of a version")
    if not found.source:
        raise Unreadable("it names no source")
    for text in (found.source, found.run_link, found.description, found.stage):
        check_plain("text", text)
    check_texts("tag", found.tags)
    check_times(found.created, found.updated)


def check_point(point: Point) -> Point:
    """The point; Unreadable for one that the plane keeps not."""
    try:
        series.check_point(point)
    except Invalid as error:
        raise Unreadable(error.message) from None
    return point


def check_path(path: str) -> None:
    """A relative path of a file as rows keep it."""
    check_name("path", path, PATH)
    if path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise Unreadable(f"{path[:80]!r} is no path inside a folder")
    if defect := find_path_defect(path):
        raise Unreadable(f"{path[:80]!r} {defect}")


# -- texts ----------------------------------------------------------------------------------------------------------
def check_texts(what: str, texts: Mapping[str, str]) -> None:
    for key, value in texts.items():
        check_name(f"key of a {what}", key, KEY)
        check_plain(f"{what} {key!r}", value)


def check_name(what: str, text: str, limit: int, *, empty: bool = False) -> None:
    if not empty and not text:
        raise Unreadable(f"a {what} is empty")
    if len(text) > limit:
        raise Unreadable(f"a {what} has {len(text)} characters; {limit} are the most: {text[:40]!r}...")
    check_plain(what, text)


def check_plain(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unreadable(f"a {what} is no Unicode text") from None
    if "\x00" in text:
        raise Unreadable(f"a {what} holds a NUL character")


def check_times(*times: int | None) -> None:
    check_all(times)


def check_all(times: Iterable[int | None]) -> None:
    for time in times:
        moment(time)
