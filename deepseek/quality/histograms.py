"""Histograms of a column before and after a step, over the same bins."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyarrow as pa

from deepseek.job import JSON
from deepseek.quality.report import compute_histogram


def compare_histograms(before: pa.Array, after: pa.Array) -> JSON:
    """Both columns over the same bins; None where there is nothing to count."""
    parts = [column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for column in (before, after)]
    finite = [part[np.isfinite(part)] for part in parts]
    joined = np.concatenate(finite)
    shape = cast("dict[str, Any] | None", compute_histogram(joined)) if joined.size else None
    if shape is None:
        return None
    counts = [[int(count) for count in np.histogram(part, bins=shape["edges"])[0]] for part in finite]
    return {"edges": shape["edges"], "before": cast(JSON, counts[0]), "after": cast(JSON, counts[1])}
