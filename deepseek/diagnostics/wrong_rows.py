"""The held-out rows of a table on which a model was most wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.diagnostics.rounding import round_value
from deepseek.models.evaluate import Outputs, Target

MAX_ROWS = 20
MIN_ROWS = 5  # of classes, where fewer rows got a wrong one: those whose right class got the smallest share
MAX_FEATURES = 30  # values told of a row
MAX_LETTERS = 200  # of a category


def list_wrong_rows(
    outputs: Outputs,
    target: Target,
    features: npt.NDArray[np.float32],
    names: Sequence[str],
    classes: Sequence[str],
    first: Sequence[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Rows as samples, the worst first: of classes those whose right class got the smallest share, as many as got a
    wrong one; of values those with the largest error. `first`: the features that are told first, the others in the
    order of the table. `categories`: of features that are codes of words, one more being none of them."""
    order = {name: place for place, name in enumerate(first)}
    visible = sorted(range(len(names)), key=lambda k: (order.get(names[k], len(order)), k))[:MAX_FEATURES]
    most = MAX_ROWS
    right = np.take_along_axis(outputs, target[:, None], axis=1)[:, 0] if classes else None
    if classes:
        most = int(np.clip((outputs.argmax(axis=1) != target).sum(), MIN_ROWS, MAX_ROWS))
    badness = -right if right is not None else np.abs(outputs[:, 0].astype(np.float64) - target)
    samples = []
    for row in np.argsort(-badness, kind="stable")[:most]:
        sample: dict[str, Any] = {"row": int(row)}
        if right is not None:
            guess = int(outputs[row].argmax())
            sample |= {"target": classes[target[row]], "prediction": classes[guess]}
            sample |= {"share": _round_share(outputs[row, guess]), "target_share": _round_share(right[row])}
        else:
            sample |= {"target": round_value(float(target[row])), "prediction": round_value(float(outputs[row, 0]))}
        values = {names[k]: _format_value(float(features[row, k]), (categories or {}).get(names[k])) for k in visible}
        samples.append(sample | {"features": values})
    return samples


def _format_value(value: float, words: Sequence[str] | None) -> float | str | None:
    if words is None:
        return round_value(value)
    return words[int(value)][:MAX_LETTERS] if value < len(words) else None


def _round_share(value: Any) -> float:
    return round_value(min(1.0, float(value)))
