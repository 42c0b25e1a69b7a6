"""Validate records of a source against the limits of our columns before anything is written. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from apps.core.errors import Invalid
from apps.core.portable_paths import find_path_defect
from apps.gateways.mlflow_import.source_records import (
    SourceExperiment,
    SourceLoggedModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
    Unreadable,
    parse_milliseconds,
)
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point
from apps.ml.registry.services.validation import check_any_name

RUN_ID, MODEL_ID = re.compile(r"[0-9a-f]{32}"), re.compile(r"m-[0-9a-f]{32}")
MAX_KEY_CHARS, MAX_NAME_CHARS, MAX_PATH_CHARS = 250, 500, 500  # characters


def check_experiment(record: SourceExperiment) -> None:
    check_name("name", record.name, MAX_NAME_CHARS)
    check_texts("tag", record.tags)
    check_times(record.created, record.updated)


def check_run(record: SourceRun) -> None:
    if not RUN_ID.fullmatch(record.id):
        raise Unreadable("its id is not of 32 hex digits")
    check_texts("param", record.params)
    check_texts("tag", record.tags)
    check_plain("name", record.name)
    check_plain("user", record.user)
    check_times(record.started, record.ended)
    for data in record.datasets:
        check_name("dataset", data.name, MAX_NAME_CHARS)
        check_name("digest of a dataset", data.digest, 36)
        check_name("source type of a dataset", data.source_type, 36, empty=True)
        check_texts("tag of a dataset", data.tags)
        for text in (data.source, data.schema, data.profile):
            check_plain("dataset", text)


def check_logged_model(record: SourceLoggedModel) -> None:
    if not MODEL_ID.fullmatch(record.id):
        raise Unreadable("its id is not m- and 32 hex digits")
    check_name("name", record.name, MAX_NAME_CHARS)
    check_name("type", record.model_type, MAX_NAME_CHARS, empty=True)
    check_texts("param", record.params)
    check_texts("tag", record.tags)
    check_times(record.created, record.updated, *(each.at for each in record.metrics))
    for each in record.metrics:
        check_name("metric", each.key, MAX_KEY_CHARS)
        check_name("dataset", each.dataset_name, MAX_NAME_CHARS, empty=True)
        check_name("digest of a dataset", each.dataset_digest, 36, empty=True)


def check_registered_model(record: SourceRegisteredModel) -> None:
    check_plain("name", record.name)
    check_any_name(record.name)
    check_plain("description", record.description)
    check_texts("tag", record.tags)
    check_times(record.created, record.updated)


def check_version(record: SourceVersion) -> None:
    if not 0 < record.number < 2**31:
        raise Unreadable(f"{record.number} is no number of a version")
    if not record.source:
        raise Unreadable("it names no source")
    for text in (record.source, record.run_link, record.description, record.stage):
        check_plain("text", text)
    check_texts("tag", record.tags)
    check_times(record.created, record.updated)


def check_point(point: Point) -> Point:
    """The point; Unreadable for one that the plane keeps not."""
    try:
        series.check_point(point)
    except Invalid as error:
        raise Unreadable(error.message) from None
    return point


def check_path(path: str) -> None:
    """A relative path of a file as rows keep it."""
    check_name("path", path, MAX_PATH_CHARS)
    if path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise Unreadable(f"{path[:80]!r} is no path inside a folder")
    if defect := find_path_defect(path):
        raise Unreadable(f"{path[:80]!r} {defect}")


# -- texts ----------------------------------------------------------------------------------------------------------
def check_texts(what: str, texts: Mapping[str, str]) -> None:
    for key, value in texts.items():
        check_name(f"key of a {what}", key, MAX_KEY_CHARS)
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
        parse_milliseconds(time)
