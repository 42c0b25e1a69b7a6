"""``rows.parquet``: what was said of each row, and how wrong it was."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.evaluate.examples import Examples
from deepseek.evaluate.measurement import Answers
from deepseek.models.evaluate import SMALLEST_SHARE

ROWS_NAME = "rows.parquet"
ROWS_TYPE = "application/vnd.apache.parquet"
MOST_SHARES = 50
"""Of more classes than these only the share of the right one and of the guess are written."""


def write_rows(path: Path, examples: Examples, answers: Answers) -> None:
    """A row per row measured: `row`, its place in the table from 0; `target` and `prediction`; `loss`.

    The loss is the squared error, or of a class -log of the right one's share, and `share` the share of the guess;
    `share_<class>` follow where the classes are few, `query` where queries were ranked; an image has its `path` too.
    Classes without shares, and scores of a ranking of classes, have no loss. Equal answers give equal bytes.
    """
    columns: dict[str, object] = {"row": examples.rows}
    if examples.paths is not None:
        columns["path"] = examples.paths
    outputs, shares = answers.outputs, answers.shares
    if answers.task == "classification":
        names, target = np.array(answers.classes, dtype=object), examples.target
        columns["target"] = names[target]
        if shares is not None:
            guess = shares.argmax(axis=1) if answers.guess is None else answers.guess
            right, predicted = (np.take_along_axis(shares, place[:, None], axis=1)[:, 0] for place in (target, guess))
            columns |= {"prediction": names[guess], "share": predicted}
            columns["loss"] = -np.log(np.clip(right.astype(np.float64), SMALLEST_SHARE, 1.0))
            if len(names) <= MOST_SHARES:
                columns |= {f"share_{name}": shares[:, place] for place, name in enumerate(names)}
        elif answers.guess is not None:
            columns["prediction"] = names[answers.guess]
        elif outputs is not None:
            columns["prediction"] = outputs[:, 0]
    elif outputs is not None:
        columns |= {"target": examples.target, "prediction": outputs[:, 0]}
        columns["loss"] = (outputs[:, 0].astype(np.float64) - examples.target) ** 2
    if examples.query is not None:
        columns["query"] = examples.query
    pq.write_table(pa.table(columns), path, compression="zstd")
