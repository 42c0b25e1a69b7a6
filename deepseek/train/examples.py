"""A table as examples to learn from: inputs, targets, and which rows are for what."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.sources import read_whole_table
from deepseek.train.columns import (
    Doubles,
    Labels,
    Singles,
    choose_features,
    read_categories,
    read_labels,
    read_number,
    read_target,
)
from deepseek.train.plan import count_windows
from deepseek.train.spec import TrainSpec
from deepseek.train.split import (
    Parts,
    Rows,
    require_labels,
    require_rows,
    require_rows_of_classes,
    split_in_order,
    split_randomly,
)

MOST_LEFT_OUT = 0.5
"""A table that loses a larger share of its rows to missing values is refused: what is left may be no fair sample."""
_CHUNK_ROWS, _CHUNK_VALUES = 1 << 14, 1 << 22  # at most, of either: rows may be wide


@dataclass(frozen=True)
class Examples:
    """`table`: shape (N, F), or (n,) for a series, of which each window of `lags` values is a row. `target`: (N,).

    The last inputs are codes: of a category its place in `categories`, of any other one, or none, their number.
    """

    names: list[str]  # of the F inputs
    classes: list[str]
    table: Singles
    lags: int  # 0: no series
    target: npt.NDArray[Any]  # float32, or int64 places in the classes
    parts: Parts
    left_out: int
    warnings: list[str]
    categories: dict[str, list[str]] = field(default_factory=dict)  # of the last inputs: those of training rows

    @property
    def numbers(self) -> int:
        """How many inputs are numbers; the others are codes of categories."""
        return len(self.names) - len(self.categories)

    @property
    def features(self) -> Singles:
        """Inputs of shape (N, F): a view, which for a series takes no memory of its own."""
        if not self.lags:
            return self.table
        return np.lib.stride_tricks.sliding_window_view(self.table, self.lags)[: len(self.target)]


def read_examples(path: Path, spec: TrainSpec) -> Examples:
    """The examples that the table at `path` (CSV, Parquet, JSON lines or Arrow) holds for `spec`.

    Raises what `read_whole_table`, `columns` and `split` do, and EngineError ``target_constant``, ``too_many_missing``.
    """
    table = read_whole_table(path)
    return _build_windows(table, spec) if spec.task == "forecast" else _build_rows(table, spec)


def compute_moments(features: Singles, rows: Rows, *, residual: bool) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation, (F,), of the inputs of the rows; with `residual` of their distance to the last one.

    In two passes over chunks, in float64. A deviation that float32 could not show is 1: such an input is constant.
    """

    size = max(1, min(_CHUNK_ROWS, _CHUNK_VALUES // features.shape[1]))

    def split_rows() -> Any:
        for start in range(0, len(rows), size):
            values = features[rows[start : start + size]].astype(np.float64)
            yield values - values[:, -1:] if residual else values

    mean = sum(chunk.sum(axis=0) for chunk in split_rows()) / len(rows)
    spread = np.sqrt(sum(((chunk - mean) ** 2).sum(axis=0) for chunk in split_rows()) / len(rows))
    return mean, np.where(spread > np.abs(mean) * np.finfo(np.float32).eps, spread, 1.0)


def _build_rows(table: pa.Table, spec: TrainSpec) -> Examples:
    labels = read_labels(table, spec) if spec.task == "classification" else None
    target = labels.codes if labels else read_target(table, spec)
    numbers, words, warnings = choose_features(table, spec)
    columns = {name: read_categories(table, name, _locate(spec, name)) for name in words}
    features = np.empty((table.num_rows, len(numbers) + len(words)), np.float32)
    missing = {spec.target: target < 0 if labels else np.isnan(target)}
    for place, name in enumerate(numbers):
        features[:, place] = read_number(table, name, _locate(spec, name))
        missing[name] = np.isnan(features[:, place])
    usable = ~np.logical_or.reduce(list(missing.values()))
    left_out = int((~usable).sum())
    _refuse_gaps(len(usable), left_out, {name: int(gone.sum()) for name, gone in missing.items()})
    features, target = features[usable], target[usable]
    require_rows(len(target), left_out)
    classes = labels.names if labels else []
    if labels:  # classes whose every row was left out are none
        present, target = np.unique(target, return_inverse=True)
        classes = [labels.names[code] for code in present]
    _refuse_constant(target, spec)
    if spec.split == "ordered":
        parts = split_in_order(len(target), spec.validation_share, spec.test_share)
    else:
        strata = target if labels else np.zeros(len(target), np.int64)
        parts = split_randomly(strata, spec.validation_share, spec.test_share, spec.seed)
        require_rows_of_classes(len(target), classes, parts)
    require_rows(len(target), left_out, parts)
    if labels:
        require_labels(parts, target, classes)
    warnings += _check_spacing(features[:, : len(numbers)], numbers, parts.training)
    categories = {}
    for place, name in enumerate(words, start=len(numbers)):
        features[:, place], categories[name] = _encode_categories(columns[name], usable, parts.training)
    return Examples([*numbers, *words], classes, features, 0, target, parts, left_out, warnings, categories=categories)


def _locate(spec: TrainSpec, name: str) -> str:
    """The field of the spec that a column was named in."""
    for field_name, names in (("categories", spec.categories), ("features", spec.features)):
        if names and name in names:
            return f"/{field_name}/{names.index(name)}"
    return "/features"


def _encode_categories(column: Labels, usable: npt.NDArray[np.bool_], training: Rows) -> tuple[Rows, list[str]]:
    """The codes (N,) of the usable rows, and the categories of those to train on, in their order.

    A category that only held-out rows have counts as none: nothing can be learned of it.
    """
    codes = column.codes[usable]
    present = np.unique(codes[training])
    present = present[present >= 0]
    places = np.full(len(column.names) + 1, len(present), np.int64)  # the last one is of those that are missing: -1
    places[present] = np.arange(len(present))
    return places[codes], [column.names[code] for code in present]


def _build_windows(table: pa.Table, spec: TrainSpec) -> Examples:
    """Row t of a series: the values of rows t - lags + 1 to t, and as target that of row t + horizon."""
    series = read_target(table, spec)
    count = count_windows(len(series), spec.lags, spec.horizon)
    target = series[len(series) - count :]
    gaps = np.cumsum(np.concatenate([[0], np.isnan(series)]))
    usable = (gaps[spec.lags : spec.lags + count] == gaps[:count]) & ~np.isnan(target)
    rows, left_out = np.flatnonzero(usable), int((~usable).sum())
    _refuse_gaps(count, left_out, {spec.target: int(gaps[-1])})
    require_rows(len(rows), left_out)
    _refuse_constant(target[rows], spec)
    warnings = _check_order(table)
    if spec.split == "random":
        warnings.append("Split at random, windows of a forecast overlap: its figures are better than it is.")
        parts = split_randomly(np.zeros(len(rows), np.int64), spec.validation_share, spec.test_share, spec.seed)
    else:
        # A window's target lies `horizon` rows ahead: without the gap it could lie in the next part.
        parts = split_in_order(len(rows), spec.validation_share, spec.test_share, gap=spec.horizon - 1)
    require_rows(len(rows), left_out, parts)
    names = [f"{spec.target}[t-{lag}]" if lag else f"{spec.target}[t]" for lag in range(spec.lags - 1, -1, -1)]
    parts_of_rows = Parts(rows[parts.training], rows[parts.validation], rows[parts.test])
    return Examples(names, [], series, spec.lags, target, parts_of_rows, left_out, warnings)


def _refuse_gaps(rows: int, left_out: int, missing: dict[str, int]) -> None:
    if left_out <= rows * MOST_LEFT_OUT:
        return
    worst = max(missing, key=lambda name: missing[name])
    raise EngineError(
        "too_many_missing",
        "{left_out:,} of {rows:,} rows would be left out for a missing or infinite value; most "
        "are missing in {worst!r}: {missing:,}.",
        left_out=left_out,
        rows=rows,
        worst=worst,
        missing=missing[worst],
        field="inputs/table",
        value=worst,
        limit=f"at most {MOST_LEFT_OUT:.0%} of the rows",
        hint=N_("Clean the table first (`deepseek clean` fills what is missing), or leave that column out."),
    )


def _refuse_constant(target: npt.NDArray[Any], spec: TrainSpec) -> None:
    if len(target) and (target == target[0]).all():
        raise EngineError(
            "target_constant",
            "The target {target!r} has one and the same value in every usable row: there is nothing to learn.",
            target=spec.target,
            field="/target",
            value=spec.target,
            limit="at least two different values",
            hint=N_("Choose another target, or a table with more of it."),
        )


def _check_spacing(features: Singles, names: list[str], rows: Rows) -> list[str]:
    """Warnings about columns such as time stamps, whose values float32 hardly tells apart."""
    if not names:
        return []
    mean, spread = compute_moments(features, rows, residual=False)
    steps = np.spacing(np.abs(mean).astype(np.float32))
    several = features[rows].max(axis=0) > features[rows].min(axis=0)
    return [
        f"Column {name!r}: its values lie so close together, far from 0, that the model hardly tells them apart; "
        "subtract a constant from it first."
        for name, step, width, varied in zip(names, steps, spread, several, strict=True)
        if varied and step > width / 100
    ]


def _check_order(table: pa.Table) -> list[str]:
    """A warning where a column of dates runs backwards somewhere: a forecast takes rows in the table's order."""
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
            column = table.column(name).drop_null()
            times = column.to_numpy().astype("datetime64[us]") if not pa.types.is_time(kind) else np.empty(0)
            if (times[1:] < times[:-1]).any():
                return [f"Column {name!r} is not in ascending order; a forecast takes the rows as they stand."]
    return []
