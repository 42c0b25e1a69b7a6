"""What a profile counts: the bins of numbers and the known values of categories, found in the reference data.

A layout is fixed before anything is compared. Profiles of one layout are merged by adding counts, in any order, and
compared exactly at its edges: no error of a sketch is taken for drift.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from deepseek.drift.columns import Batch, Column, read_columns
from deepseek.job import EngineError
from deepseek.messages import N_

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
SCHEMA = "plane/drift-layout/v1"
MAX_FEATURES = 5_000
MAX_BINS = 64
MAX_VALUES = 200
SAMPLE_SIZE = 50_000
"""Numbers of a feature that the edges are taken from: they need not be exact, the counts at them are."""


@dataclass(frozen=True)
class NumberLayout:
    """Bins (-inf, e0], (e0, e1], ..., (ek, inf). A value that is frequent by itself has a bin of its own."""

    name: str
    edges: Floats

    kind = "number"

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "edges": self.edges.tolist()}


@dataclass(frozen=True)
class CategoryLayout:
    """The known values, the most frequent first. `complete`: the reference had no others, so another one is unseen."""

    name: str
    values: tuple[str, ...]
    complete: bool = True

    kind = "category"

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "values": list(self.values), "complete": self.complete}

    @cached_property
    def places(self) -> dict[str, int]:
        return {value: place for place, value in enumerate(self.values)}


FeatureLayout: TypeAlias = NumberLayout | CategoryLayout


@dataclass(frozen=True)
class Layout:
    """The features of a model, in the order of the reference data."""

    features: tuple[FeatureLayout, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: profiles are merged and compared only under the same one."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(feature.name for feature in self.features)

    def to_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "features": [feature.to_dict() for feature in self.features]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layout:
        """Raises EngineError ``bad_layout``."""
        try:
            if data["schema"] != SCHEMA:
                raise ValueError(data["schema"])
            return cls(tuple(_read_feature(feature) for feature in data["features"]))
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(
                "bad_layout",
                N_("This is not a layout of drift profiles."),
                value=str(error)[:200],
                limit=SCHEMA,
                hint=N_("Build it from the reference data again."),
            ) from None


def _read_feature(data: Mapping[str, Any]) -> FeatureLayout:
    if data["kind"] == "category":
        return CategoryLayout(str(data["name"]), tuple(map(str, data["values"])), bool(data["complete"]))
    edges = np.array(data["edges"], dtype=np.float64)
    if data["kind"] != "number" or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(data["name"])
    return NumberLayout(str(data["name"]), edges)


def build_layout(
    batches: Iterable[Batch],
    *,
    features: Sequence[str] | None = None,
    max_bins: int = MAX_BINS,
    max_values: int = MAX_VALUES,
) -> Layout:
    """The layout of reference data, in one pass and bounded memory. `features`: only these columns, else all.

    Raises EngineError ``empty_reference``, ``too_many_watched_features``, ``no_feature``.
    """
    columns: dict[str, _ColumnSummary] = {}
    rows = 0
    for batch in batches:
        count, batch_columns = read_columns(batch)
        rows += count
        for column in batch_columns:
            if features is not None and column.name not in features:
                continue
            if column.name not in columns:
                columns[column.name] = _ColumnSummary(column.name, max_values)
                _check_feature_count(len(columns))
            columns[column.name].update(column)
    if not rows:
        raise EngineError(
            "empty_reference",
            N_("The reference data has no rows."),
            value="0",
            limit=1,
            hint=N_("Give the data that the model was trained with."),
        )
    absent = [name for name in features or () if name not in columns]
    if absent:
        raise EngineError(
            "no_feature",
            N_("The reference data has no column {column}."),
            column=absent[0],
            field="/features",
            value=absent[0],
            hint=N_("Name columns of the reference data."),
        )
    order = features if features is not None else list(columns)
    return Layout(tuple(columns[name].build(max_bins) for name in order))


def _check_feature_count(count: int) -> None:
    if count > MAX_FEATURES:
        raise EngineError(
            "too_many_watched_features",
            N_("The reference data has more than {most} columns."),
            most=MAX_FEATURES,
            value=str(count),
            limit=MAX_FEATURES,
            hint=N_("Name the features to watch."),
        )


class _ColumnSummary:
    """A sample of a column's numbers, and counts of its values until they are too many."""

    def __init__(self, name: str, max_values: int) -> None:
        self.name, self.max_values = name, max_values
        self.numbers = 0
        self.kept: list[Floats] = []
        self.kept_count = 0
        self.values: Counter[str] = Counter()
        self.complete = True
        self.random = np.random.default_rng(24)

    def update(self, column: Column) -> None:
        finite = column.numbers[np.isfinite(column.numbers)]
        self.numbers += len(finite)
        self._sample(finite)
        for value, count in column.texts.items():
            self.values[value] += count
        if len(self.values) > 50 * self.max_values:  # the frequent ones stay: Misra and Gries, roughly
            self.values = Counter(dict(self.values.most_common(10 * self.max_values)))
            self.complete = False

    def _sample(self, finite: Floats) -> None:
        """Every number has a random key; those with the smallest keys are the sample."""
        if len(finite):
            self.kept.append(np.column_stack([self.random.random(len(finite)), finite]))
            self.kept_count += len(finite)
        if self.kept_count > 4 * SAMPLE_SIZE:
            self.kept = [self._shrink()]
            self.kept_count = len(self.kept[0])

    def _shrink(self) -> Floats:
        joined = np.concatenate(self.kept) if self.kept else np.zeros((0, 2))
        if len(joined) <= SAMPLE_SIZE:
            return joined
        return joined[np.argpartition(joined[:, 0], SAMPLE_SIZE)[:SAMPLE_SIZE]]

    def build(self, max_bins: int) -> FeatureLayout:
        if self.numbers >= self.values.total() and self.numbers:
            return NumberLayout(self.name, choose_edges(self._shrink()[:, 1], max_bins))
        most = self.values.most_common(self.max_values)
        names = tuple(value for value, _ in sorted(most, key=lambda pair: (-pair[1], pair[0])))
        return CategoryLayout(self.name, names, self.complete and len(self.values) <= self.max_values)


def choose_edges(sample: Floats, max_bins: int) -> Floats:
    """Edges between bins of about equal counts. A value that fills a bin alone gets one, closed on both sides.

    The lowest bin ends at the least value and the highest begins at the greatest, so that both count what lies beyond.
    """
    ordered = np.sort(sample)
    distinct, counts = np.unique(ordered, return_counts=True)
    if len(distinct) <= max_bins // 2:
        atoms = distinct
        quantiles = distinct
    else:
        heavy = counts >= len(ordered) / max_bins
        atoms = distinct[heavy]
        quantiles = ordered[np.linspace(0, len(ordered) - 1, max(2, max_bins - len(atoms))).astype(int)]
    below = [math.nextafter(float(value), -math.inf) for value in [*atoms, ordered[0]]]
    edges = np.unique(np.concatenate([quantiles, atoms, below]))
    finite: Floats = edges[np.isfinite(edges)]
    return finite
