"""Stream the points of metrics as CSV, in bounded memory and without an open cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.http.response import HttpResponseBase

from apps.core.lists.csv_files import build_csv_response, encode_csv, escape_formula
from apps.ml.experiments.models import Metric
from apps.ml.experiments.queries import iter_point_batches
from apps.platform.jobs.streams import release_connection

HEAD = ("run", "key", "step", "value", "at")


def build_points_csv(metrics: Sequence[Metric]) -> HttpResponseBase:
    return build_csv_response("metrics", iter_csv_lines(metrics))


def iter_csv_lines(metrics: Sequence[Metric]) -> Iterator[bytes]:
    yield encode_csv([HEAD])
    for metric in metrics:
        for batch in iter_point_batches(metric):
            release_connection()
            run_and_key = metric.run_id, escape_formula(metric.key)
            yield encode_csv((*run_and_key, step, repr(value), at.isoformat()) for step, value, at in batch)
