"""``rows.parquet``: what the model said of each row, and how wrong it was."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.evaluate.examples import Examples
from deepseek.evaluate.measures import Outputs
from deepseek.models.evaluate import SMALLEST_SHARE
from deepseek.models.manifest import ModelManifest

ROWS_NAME = "rows.parquet"
ROWS_TYPE = "application/vnd.apache.parquet"
MOST_SHARES = 50
"""Of more classes than these only the share of the right one and of the guess are written."""


def write_rows(path: Path, examples: Examples, outputs: Outputs, manifest: ModelManifest) -> None:
    """A row per row measured: `row`, its place in the table from 0; `target` and `prediction`; `loss`.

    The loss is the squared error, or of a class -log of the right one's share, and `share` the share of the guess;
    `share_<class>` follow where the classes are few, `query` where queries were ranked. Equal outputs give equal bytes.
    """
    columns: dict[str, object] = {"row": examples.rows}
    if manifest.task == "classification":
        names, guess = np.array(manifest.classes, dtype=object), outputs.argmax(axis=1)
        right = np.take_along_axis(outputs, examples.target[:, None], axis=1)[:, 0].astype(np.float64)
        columns |= {"target": names[examples.target], "prediction": names[guess], "share": outputs.max(axis=1)}
        columns["loss"] = -np.log(np.clip(right, SMALLEST_SHARE, 1.0))
        if len(names) <= MOST_SHARES:
            columns |= {f"share_{name}": outputs[:, place] for place, name in enumerate(names)}
    else:
        columns |= {"target": examples.target, "prediction": outputs[:, 0]}
        columns["loss"] = (outputs[:, 0].astype(np.float64) - examples.target) ** 2
    if examples.query is not None:
        columns["query"] = examples.query
    pq.write_table(pa.table(columns), path, compression="zstd")
