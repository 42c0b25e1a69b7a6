"""The rows of a table that a model can be measured on: inputs, targets, and which rows they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.evaluate.spec import EvaluateSpec, Measures
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import ModelManifest, require_mlp
from deepseek.tables.files import build_unknown_column_error
from deepseek.tables.sources import read_whole_table
from deepseek.train.columns import Labels, is_number, read_categories, read_labels, read_number, read_target
from deepseek.train.plan import count_windows
from deepseek.train.spec import TrainSpec

FEWEST_ROWS = 10
MOST_LEFT_OUT = 0.5
TABLE = "inputs/table"


@dataclass(frozen=True)
class Examples:
    """`features` (n, F) float32, `target` (n,) float32 or int64 places in the classes; `rows` (n,) their places in the
    table, counted from 0; `query` (n,) the number of each row's query, of a ranking; `paths`: of images."""

    table: pa.Table
    features: npt.NDArray[np.float32]
    target: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64] | None
    left_out: int
    horizon: int
    paths: list[str] | None = None


def read_evaluation(path: Path, manifest: ModelManifest, spec: EvaluateSpec) -> Examples:
    """The rows of the table at `path` that have every input and the target of the model.

    Raises what `read_whole_table` does, and EngineError ``unknown_column``, ``column_not_numeric``, ``class_unknown``,
    ``column_not_categories``, ``too_many_missing``, ``rows_too_few``, ``group_not_taken``, ``horizon_unknown``;
    ``family_unsupported`` for a model of images or texts.
    """
    require_mlp(manifest, "evaluate")
    table = read_whole_table(path)
    examples = (
        _read_windows(table, manifest, spec) if manifest.task == "forecast" else _read_rows(table, manifest, spec)
    )
    require_enough(len(examples.rows))
    return examples


def require_enough(rows: int) -> None:
    """EngineError ``rows_too_few`` where an interval of so many rows would say nothing."""
    if rows < FEWEST_ROWS:
        raise EngineError(
            "rows_too_few",
            "Only {rows} rows of the table can be measured on.",
            rows=rows,
            field=TABLE,
            value=str(rows),
            limit=f"at least {FEWEST_ROWS}",
            hint=N_("Give a larger table: an interval of so few rows says nothing."),
        )


def _read_rows(table: pa.Table, manifest: ModelManifest, spec: EvaluateSpec) -> Examples:
    features = np.empty((table.num_rows, len(manifest.features)), np.float32)
    codes = manifest.list_codes()
    for place, name in enumerate(manifest.features):
        if name not in table.column_names:
            raise build_unknown_column_error(table.column_names, name, TABLE)
        if place in codes:
            features[:, place] = encode_categories(read_categories(table, name, TABLE), codes[place])
            continue
        if not is_number(table.column(name).type):
            raise EngineError(
                "column_not_numeric",
                "The column {name!r}, which the model takes, is not numeric: its type is {column_type}.",
                name=name,
                column_type=table.column(name).type,
                field=TABLE,
                value=name,
                limit="a column of numbers",
                hint=N_("Give a table that was made as the one the model learned from."),
            )
        features[:, place] = read_number(table, name, TABLE)
    target = _encode_target(table, manifest)
    has_target = target >= 0 if manifest.task == "classification" else ~np.isnan(target)
    usable = has_target & ~np.isnan(features).any(axis=1)
    requested = np.arange(len(usable)) >= spec.first_row
    query = index_queries(table, spec.group) if spec.group else None
    if query is not None:
        usable &= query >= 0
    rows = select_measured_rows(usable, requested)
    query_index = None if query is None else np.unique(query[rows], return_inverse=True)[1].astype(np.int64)
    return Examples(table, features[rows], target[rows], rows, query_index, int(requested.sum()) - len(rows), 1)


def encode_categories(column: Labels, codes: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """The code (n,) of each row as the model counts them: a category that it never saw is as good as none."""
    return np.array([*(codes.get(name, len(codes)) for name in column.names), len(codes)], np.int64)[column.codes]


def refuse_group(spec: Measures) -> None:
    """EngineError ``group_not_taken`` where a forecast is given a query column."""
    if spec.group:
        raise EngineError(
            "group_not_taken",
            "A forecast ranks nothing: it takes no query column.",
            field="/group",
            value=spec.group,
            limit="none",
            hint=N_("Leave the query column out."),
        )


def _encode_target(table: pa.Table, manifest: ModelManifest) -> npt.NDArray[Any]:
    """The target as the model counts it, -1 or NaN where it is missing."""
    target_spec = TrainSpec(task=manifest.task, target=manifest.target)
    if manifest.task != "classification":
        return read_target(table, target_spec)
    labels = read_labels(table, target_spec)
    places = {name: place for place, name in enumerate(manifest.classes)}
    unknown = [name for name in labels.names if name not in places]
    if unknown:
        raise EngineError(
            "class_unknown",
            "The target {target!r} has classes that the model does not know.",
            target=manifest.target,
            field=TABLE,
            value=", ".join(unknown[:10]),
            limit=", ".join(manifest.classes[:20]),
            hint=N_("Leave their rows out of the table, or measure a model that learned them."),
        )
    translate = np.array([*(places[name] for name in labels.names), -1], np.int64)  # the code -1 is the last
    return translate[labels.codes]


def index_queries(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """The number of each row's query, in the order of their first rows; -1 where it is missing."""
    if name not in table.column_names:
        raise build_unknown_column_error(table.column_names, name, "/group")
    codes = table.column(name).combine_chunks().dictionary_encode()
    return np.asarray(codes.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def _read_windows(table: pa.Table, manifest: ModelManifest, spec: EvaluateSpec) -> Examples:
    """As the training does: row t sees the values of rows t - lags + 1 to t; its target is that of row t + horizon."""
    refuse_group(spec)
    lags, trained_horizon = require_mlp(manifest, "evaluate").inputs, manifest.spec.get("horizon")
    horizon = spec.horizon or (trained_horizon if isinstance(trained_horizon, int) and trained_horizon > 0 else None)
    if horizon is None:
        raise EngineError(
            "horizon_unknown",
            "The manifest of this form does not say how far the forecast looks ahead.",
            field="/horizon",
            limit="a whole number of rows",
            hint=N_("Give the horizon that the model was trained with."),
        )
    series = read_target(table, TrainSpec(task="forecast", target=manifest.target))
    count = count_windows(len(series), lags, horizon)
    target = series[len(series) - count :] if count else series[:0]
    gaps = np.cumsum(np.concatenate([[0], np.isnan(series)]))
    usable = (gaps[lags : lags + count] == gaps[:count]) & ~np.isnan(target)
    requested = np.arange(count) + len(series) - count >= spec.first_row
    rows = select_measured_rows(usable, requested)
    windows = np.lib.stride_tricks.sliding_window_view(series, lags)[rows] if count else np.empty((0, lags), np.float32)
    places = rows + len(series) - count  # of the target: what is measured is the row that was foretold
    return Examples(
        table, np.ascontiguousarray(windows), target[rows], places, None, int(requested.sum()) - len(rows), horizon
    )


def select_measured_rows(
    usable: npt.NDArray[np.bool_],
    requested: npt.NDArray[np.bool_],
    missing: Callable[[int, int], EngineError] | None = None,
) -> npt.NDArray[np.int64]:
    """The places of those that are usable and wanted. Where too few are left EngineError ``too_many_missing``, or what
    `missing` says of (how many are left out, of how many)."""
    rows, count = np.flatnonzero(usable & requested), int(requested.sum())
    left_out = count - len(rows)
    if left_out > count * MOST_LEFT_OUT:
        raise (missing or _build_missing_inputs_error)(left_out, count)
    return rows.astype(np.int64)


def _build_missing_inputs_error(left_out: int, rows: int) -> EngineError:
    return EngineError(
        "too_many_missing",
        "{left_out:,} of {asked:,} rows lack an input or the target.",
        left_out=left_out,
        asked=rows,
        field=TABLE,
        value=str(left_out),
        limit=f"at most {MOST_LEFT_OUT:.0%} of the rows",
        hint=N_("Clean the table first: what is left may be no fair sample."),
    )
