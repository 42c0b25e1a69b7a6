"""Evaluations as a job would have written them, with draws of one's own choice."""

from __future__ import annotations

import base64
import json
import struct

from apps.ml.registry.models import Evaluation

COUNT = 400
MEMORY = {"model_bytes": 1, "peak_bytes": 2}


def series(metric, better, value, draws, part=None):
    encoded = base64.b64encode(struct.pack(f"<{len(draws)}d", *draws)).decode()
    return {"slice": part, "metric": metric, "better": better, "value": value, "draws": encoded}


def around(value, width):
    """Draws that lie evenly from value - width to value + width."""
    return [value + width * (2 * k / (COUNT - 1) - 1) for k in range(COUNT)]


def replicates(*told, pairing="p" * 64):
    return json.dumps({"schema": "plane/replicates/v1", "pairing": pairing, "count": COUNT, "series": list(told)})


def write_evaluation(held, variant, on, value, width=0.01, *, pairing="p" * 64, parts=(), job=1, version=None):
    """An evaluation whose rmse is `value`, drawn evenly within `width`; `parts`: (column, value, rmse) of slices.

    Without a variant it is of predictions of `version`.
    The draws of the baseline are held still by width=0: then those of the candidate are those of the difference.
    """
    told = [series("rmse", "lower", value, around(value, width))]
    told += [series("rmse", "lower", rmse, around(rmse, width), [column, name]) for column, name, rmse in parts]
    metric = {"name": "rmse", "value": value, "low": value - width, "high": value + width, "confidence": 0.95}
    metric |= {"method": "bootstrap", "better": "lower", "unit": ""}
    document = {
        "schema": "plane/evaluation/v1",
        "rows": 40,
        "metrics": [metric],
        "slices": [
            {"column": column, "value": name, "rows": 20, "metrics": [metric | {"value": rmse}]}
            for column, name, rmse in parts
        ],
        "calibration": [],
        "latency": [{"batch": 1, "threads": 1, "runs": 20, "p50_us": 10.0, "p95_us": 20.0, "rows_per_second": 1e5}],
        "memory": MEMORY,
        "size_bytes": 10,
        "notes": ["2 rows lack an input or the target; they are not measured."],
        "queries": None,
        "positive": None,
    }
    if variant is None:
        document |= {"latency": [], "memory": None, "size_bytes": None}
    of = version or variant.version
    return Evaluation.objects.create(
        set=on,
        version=of,
        predictions=held(f"what {of} says".encode()) if variant is None else None,
        variant=variant,
        job_id=job,
        artifact=held(json.dumps([document, of.pk, variant and variant.pk, job]).encode()),
        replicates=held(replicates(*told, pairing=pairing).encode()),
        pairing=pairing,
        rows=40,
        metrics=[metric],
        document=json.dumps(document),
        created_by="engineer",
    )
