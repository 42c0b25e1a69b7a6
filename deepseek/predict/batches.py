"""A table, batch by batch, with the predictions of a model beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.steps.numbers import NO_EDGES, WindowEdges, iter_with_context
from deepseek.evaluate.examples import encode_categories
from deepseek.evaluate.spec import SHARE
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.manifest import ModelManifest, require_mlp
from deepseek.models.predictor_base import Predictor
from deepseek.predict.spec import PredictSpec
from deepseek.tables.batches import Batches
from deepseek.tables.files import build_unknown_column_error, require_columns
from deepseek.tables.streams import MappedBatches
from deepseek.train.columns import is_number, read_categories, read_number

TABLE = "inputs/table"
CHUNK_ROWS = 8192  # rows of one call of the model
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class TableModel:
    """A model, and how its inputs are read from the columns of a table."""

    def __init__(
        self, predictor: Predictor, manifest: ModelManifest, schema: pa.Schema, edges: WindowEdges = NO_EDGES
    ) -> None:
        """`edges`: the values before the first row, where the table is a partition of a longer series."""
        self.predictor, self.manifest, self.edges = predictor, manifest, edges
        self.codes = manifest.list_codes()
        self.lags = require_mlp(manifest, "predict").inputs if manifest.task == "forecast" else 0
        self.columns = [manifest.target] if self.lags else list(manifest.features)
        for place, name in enumerate(self.columns):
            if name not in schema.names:
                raise build_unknown_column_error(schema.names, name, TABLE)
            kind = schema.field(name).type
            if not (place in self.codes and not self.lags) and not is_number(kind):
                raise EngineError(
                    "column_not_numeric",
                    "The column {name!r}, which the model takes, is not numeric: its type is {column_type}.",
                    name=name,
                    column_type=kind,
                    field=TABLE,
                    value=name,
                    limit="a column of numbers",
                    hint=N_("Give a table that was made as the one the model learned from."),
                )

    def iter_features(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, Floats]]:
        """Each batch with its inputs (n, F), NaN where one is missing."""
        if self.lags:
            yield from self._iter_windows(batches)
            return
        for batch in batches:
            table = pa.Table.from_batches([batch])
            features = np.empty((batch.num_rows, len(self.columns)), np.float32)
            for place, name in enumerate(self.columns):
                if place in self.codes:
                    features[:, place] = encode_categories(read_categories(table, name, TABLE), self.codes[place])
                else:
                    features[:, place] = read_number(table, name, TABLE)
            yield batch, features

    def _iter_windows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, Floats]]:
        """As the training does: row t sees the values of the rows t - lags + 1 to t."""
        name = self.columns[0]
        for batch, contexts in iter_with_context(batches, [name], self.lags, self.edges):
            values, start, size = contexts[name]
            lead = values[max(0, start - self.lags + 1) : start + size]
            series = np.concatenate([np.full(self.lags - 1 + size - lead.size, np.nan), lead]).astype(np.float32)
            series[~np.isfinite(series)] = np.nan
            yield batch, np.lib.stride_tricks.sliding_window_view(series, self.lags)

    def predict(self, features: Floats, first_row: int) -> Floats:
        """Outputs (n, C) of complete rows."""
        parts = [
            self.predictor.predict(np.ascontiguousarray(features[start : start + CHUNK_ROWS]))
            for start in range(0, len(features), CHUNK_ROWS)
        ]
        outputs = np.concatenate([np.empty((0, self.predictor.outputs), np.float32), *parts])
        if not np.isfinite(outputs).all():
            raise EngineError(
                "outputs_not_finite",
                "The model gives infinite values, or none, for some of the rows.",
                field="inputs/model",
                value=f"data rows from {first_row + 1}",
                limit="finite values",
                hint=N_("Train with a lower max_lr, and look for extreme values in the features."),
            )
        return outputs


class PredictedBatches(MappedBatches):
    """The table with its predictions; `incomplete` counts the rows without one, of the latest reading."""

    def __init__(self, source: Batches, model: TableModel, spec: PredictSpec, first_row: int = 0) -> None:
        """`first_row`: the rows of the table that come before `source`."""
        self.model, self.spec, self.first_row, self.incomplete = model, spec, first_row, 0
        names = source.schema.names
        if spec.keep is not None:
            require_columns(names, spec.keep)
        self.kept = [name for name in names if spec.keep is None or name in spec.keep]
        is_class = model.manifest.task == "classification"
        new = [pa.field(spec.name, pa.string() if is_class else pa.float32())]
        if spec.probabilities and is_class:
            new += [pa.field(f"{SHARE}{name}", pa.float32()) for name in model.manifest.classes]
        for field in new:
            if field.name in self.kept:
                raise EngineError(
                    "column_exists",
                    "The predictions need the column name {name!r}, which the table already has.",
                    name=field.name,
                    field="/name",
                    value=field.name,
                    limit="a name that no column to keep has",
                    hint=N_("Choose another name, or do not keep that column."),
                )
        schema = pa.schema([*(source.schema.field(name) for name in self.kept), *new])
        super().__init__(source, schema, self._predict_batches, source.rows)

    def _predict_batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.incomplete, row = 0, self.first_row
        for batch, features in self.model.iter_features(batches):
            is_complete: Mask = np.asarray(~np.isnan(features).any(axis=1))
            self._refuse_incomplete(is_complete, row)
            outputs = self.model.predict(features[is_complete], row)
            arrays = [batch.column(name) for name in self.kept]
            yield pa.RecordBatch.from_arrays([*arrays, *self._build_columns(outputs, is_complete)], schema=self.schema)
            self.incomplete += int(np.count_nonzero(~is_complete))
            row += batch.num_rows

    def _refuse_incomplete(self, is_complete: Mask, first_row: int) -> None:
        if self.spec.incomplete == "refuse" and not is_complete.all():
            row = first_row + int(np.argmin(is_complete)) + 1
            raise EngineError(
                "row_incomplete",
                "Row {row:,} lacks an input of the model.",
                row=row,
                field=TABLE,
                value=str(row),
                limit="every input in every row",
                hint=N_("Clean the table first, or let incomplete rows have no prediction."),
            )

    def _build_columns(self, outputs: Floats, is_complete: Mask) -> list[pa.Array]:
        """The new columns, missing where a row is incomplete."""
        take = np.full(is_complete.size, -1)
        take[is_complete] = np.arange(len(outputs))
        places = pa.array(take, mask=take < 0)
        if self.model.manifest.task != "classification":
            return [pa.array(outputs[:, 0]).take(places)]
        classes = pa.array(list(self.model.manifest.classes), pa.string())
        columns: list[Any] = [classes.take(pa.array(outputs.argmax(axis=1))).take(places)]
        if self.spec.probabilities:
            columns += [pa.array(outputs[:, place]).take(places) for place in range(len(classes))]
        return columns
