"""Records of an MLflow source, the same for file stores and servers. Pure values: nothing here reads or writes.

Times are milliseconds since 1970 as MLflow keeps them, None where it has none. A lifecycle stage is `deleted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apps.core.errors import Invalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RUN_STATES = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}
MODEL_STATES = {0: "unspecified", 1: "pending", 2: "ready", 3: "upload_failed"}


class Unreadable(Exception):
    """One thing of the source that cannot be taken over; it is named in the report, and the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceExperiment:
    id: str
    name: str
    created: int | None = None
    updated: int | None = None
    deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDataset:
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A logged model that a run read or made."""

    model_id: str
    direction: str  # "input" | "output"
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    id: str
    experiment_id: str
    name: str
    user: str = ""
    state: str = "running"
    started: int | None = None
    ended: int | None = None
    deleted: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metric_keys: Sequence[str] = ()
    datasets: Sequence[SourceDataset] = ()
    links: Sequence[Link] = ()
    artifact_uri: str = ""
    mark: str = ""  # equal marks: its metrics are the same as they were when it was read with this mark


@dataclass(frozen=True, slots=True)
class SourcePoint:
    value: float
    step: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModelMetric:
    key: str
    value: float
    step: int
    at: int
    run_id: str
    dataset_name: str = ""
    dataset_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLoggedModel:
    id: str
    experiment_id: str
    name: str
    model_type: str = ""
    state: str = "ready"
    run_id: str = ""
    created: int | None = None
    updated: int | None = None
    deleted: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[SourceModelMetric] = ()
    artifact_uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRegisteredModel:
    name: str
    description: str = ""
    created: int | None = None
    updated: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVersion:
    name: str
    number: int
    source: str = ""
    run_id: str = ""
    model_id: str = ""
    run_link: str = ""
    description: str = ""
    stage: str = "None"
    created: int | None = None
    updated: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file below an artifact folder; `path` is relative to it, with `/`."""

    path: str
    size: int


class Source(Protocol):
    """An MLflow server or a file store. Everything is given one by one or page by page.

    Each may raise Unreadable for one thing, and Unavailable or Invalid where the source as a whole cannot be read.
    """

    name: str  # as records name it, without any secret

    def iter_experiments(self) -> Iterator[SourceExperiment | Unreadable]: ...

    def iter_runs(self, experiment: SourceExperiment) -> Iterator[SourceRun | Unreadable]: ...

    def iter_points(self, run: SourceRun, key: str) -> Iterator[SourcePoint]:
        """Every point of a metric, in an order that stays the same when points are added behind."""
        ...

    def iter_logged_models(self, experiment: SourceExperiment) -> Iterator[SourceLoggedModel | Unreadable]: ...

    def iter_registered_models(self) -> Iterator[SourceRegisteredModel | Unreadable]: ...

    def iter_versions(self, model: SourceRegisteredModel) -> Iterator[SourceVersion | Unreadable]: ...

    def iter_files(self, owner: SourceRun | SourceLoggedModel) -> Iterator[SourceFile | Unreadable]: ...

    def read(self, owner: SourceRun | SourceLoggedModel, file: SourceFile) -> Iterable[bytes]: ...


def parse_milliseconds(milliseconds: int | None) -> datetime | None:
    """The time that MLflow writes as milliseconds; Unreadable beyond the years that a database keeps."""
    if milliseconds is None:
        return None
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise Unreadable(f"{milliseconds} ms is no time between the years 1 and 9999") from None


def unknown_experiments_error(names: Iterable[str]) -> Invalid:
    return Invalid(
        f"The source has no experiment called {', '.join(repr(name) for name in names)}.",
        field="--experiment",
        hint="Names are those of MLflow, exactly; without the option all are taken.",
    )
